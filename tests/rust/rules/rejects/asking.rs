//! The request of a row.

use super::case::Case;
use super::held::{self, Form};
use super::table::{Row, status_of};
use super::values::Names;
use crate::support::{Answered, Ask};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mlflow_oidc::app::wire::Decision;
use mlflow_oidc::config::Fault;
use serde_json::Value;

/// Where somebody asks for something, unless the row says otherwise.
pub const PATH: &str = "/api/2.0/mlflow/experiments/search?max_results=1";

/// A request of a row whose settings nothing can be done with.
pub fn misconfigured(row: &Row, faults: &[Fault]) -> Result<(), String> {
    let answered = ask(row, &Names::new()).of_misconfigured(faults);
    held::outcome(&answered, status_of("configuration"), row.code(), Form::Json)
}

/// Whether the row's request is a browser's that opens a page.
pub fn is_page(case: &Case<'_>) -> bool {
    case.row.get("request").is_some_and(|request| request["headers"]["sec-fetch-mode"] == "navigate")
}

/// The row's request, let through MLflow's own check of passwords where it has to be.
pub fn asked(case: &Case<'_>, with: impl Fn(Ask) -> Ask) -> Answered {
    let ask = with(ask(case.row, &case.names));
    let answered = ask.of(&case.world);
    if let Decision::Basic { authorization } = &answered.0
        && case.has_password
    {
        let encoded = authorization.split_once(' ').unwrap().1;
        let pair = String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap();
        return ask.with_right_password(&case.world, pair.split_once(':').unwrap().0);
    }
    answered
}

fn ask(row: &Row, names: &Names) -> Ask {
    let member = |name: &str| row.get("request").and_then(|request| request.get(name));
    if let Some(request) = row.get("request") {
        for name in request.as_object().unwrap().keys() {
            let known = ["method", "path", "headers", "body"];
            assert!(known.contains(&name.as_str()), "'{name}' in request");
        }
    }
    let method = member("method").map_or("GET", |method| method.as_str().unwrap());
    let path = member("path").map_or_else(|| PATH.to_owned(), |path| names.text(path));
    let mut ask = Ask::new(method, &path);
    for (name, value) in member("headers").and_then(Value::as_object).into_iter().flatten() {
        let value = names.text(value);
        ask = match name.as_str() {
            "authorization" => ask.authorization(&value),
            "x-mlflow-authorization" => ask.gateway_authorization(&value),
            "accept" => ask.accept(&value),
            "sec-fetch-mode" => ask.fetch_mode(&value),
            "sec-fetch-site" => ask.fetch_site(&value),
            "origin" => ask.origin(&value),
            "host" => ask.host(&value),
            // Nothing else of a request comes into the core.
            _ => ask,
        };
    }
    match member("body") {
        Some(body) => ask.body(&names.text(body)),
        None => ask,
    }
}
