//! The roles port over `mlflow_oidc.roles.Roles`, which goes through MLflow's own database engine.

use super::adapter::Adapter;
use crate::identity::roles::{Change, Kept, PREFIX, Resource, RoleName};
use crate::ports::{Patience, Roles, StoreFault, Undone};
use pyo3::prelude::*;

/// Calls `mlflow_oidc.roles.Roles`.
pub struct PythonRoles(Adapter);

/// A change as Python has it: what, workspace, name, three texts and the number of a user, as far as there are any.
pub type Row = (&'static str, String, String, String, String, String, i64);

/// A role as Python has it: workspace, name, description, and (kind, pattern, permission) of each grant.
pub type KeptRow = (String, String, String, Vec<(String, String, String)>);

impl PythonRoles {
    pub fn new(roles: Py<PyAny>) -> Self {
        Self(Adapter::new(roles, "MLflow's tables of roles"))
    }
}

impl Roles for PythonRoles {
    fn kept(&self) -> Result<Vec<Kept>, StoreFault> {
        let rows: Vec<KeptRow> =
            self.0.call("kept", |py| (PREFIX,).into_pyobject(py), |answer| answer.extract())?;
        Ok(rows.into_iter().map(kept).collect())
    }

    fn of_user(&self, user_id: i64, patience: Patience) -> Result<Vec<RoleName>, StoreFault> {
        let waits = patience == Patience::Wait;
        let rows: Vec<(String, String)> = self.0.call(
            "of_user",
            |py| (PREFIX, user_id, waits).into_pyobject(py),
            |answer| answer.extract(),
        )?;
        Ok(rows.into_iter().map(|(workspace, name)| RoleName { workspace, name }).collect())
    }

    fn change(&self, changes: &[Change]) -> Result<Vec<Undone>, StoreFault> {
        let rows: Vec<Row> = changes.iter().map(row).collect();
        let undone: Vec<(usize, Option<String>)> =
            self.0.call("change", |py| (rows,).into_pyobject(py), |answer| answer.extract())?;
        Ok(undone.into_iter().map(|(index, why)| Undone { index, why }).collect())
    }
}

/// From Python's form.
pub fn kept((workspace, name, description, grants): KeptRow) -> Kept {
    let grant = |(kind, pattern, permission)| (Resource { kind, pattern }, permission);
    Kept { name: RoleName { workspace, name }, description, grants: grants.into_iter().map(grant).collect() }
}

/// To Python's form.
pub fn row(change: &Change) -> Row {
    let (what, role, texts, user) = match change {
        Change::Create(role, description) => ("create", role, [description.as_str(), "", ""], 0),
        Change::Describe(role, description) => ("describe", role, [description.as_str(), "", ""], 0),
        Change::Grant(role, on, permission) => {
            ("grant", role, [on.kind.as_str(), on.pattern.as_str(), permission.as_str()], 0)
        }
        Change::Revoke(role, on, permission) => {
            ("revoke", role, [on.kind.as_str(), on.pattern.as_str(), permission.as_str()], 0)
        }
        Change::Delete(role) => ("delete", role, ["", "", ""], 0),
        Change::Assign(role, user, username) => ("assign", role, [username.as_str(), "", ""], *user),
        Change::Unassign(role, user) => ("unassign", role, ["", "", ""], *user),
    };
    let [first, second, third] = texts.map(str::to_owned);
    (what, role.workspace.clone(), role.name.clone(), first, second, third, user)
}
