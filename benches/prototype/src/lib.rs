//! The floor: a custom function of MLflow's that does the least it can and is written without any trick.
//!
//! A remembered bearer or a session is a hash, a look-up in a `HashMap` behind a lock, and werkzeug's `Authorization`. A
//! bearer that was never seen is jsonwebtoken with aws-lc-rs, a key made once, and a look-up of the user. Without
//! credentials there is a Flask `Response`. It has no expiry of what it remembers, no bound on its memory, no provider, no
//! rule about names, no log: whatever mlflow-oidc takes beyond this is the price of those.

use aws_lc_rs::digest::{SHA256, digest};
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyDict};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

type Hash = [u8; 32];

/// The claims that the user is found by; the rest is `Validation`'s.
#[derive(serde::Deserialize)]
struct Claims {
    sub: String,
}

struct Key {
    decoding: DecodingKey,
    validation: Validation,
}

#[pyclass(frozen)]
struct Prototype {
    keys: HashMap<String, Key>,
    users: HashMap<String, String>,
    tokens: Mutex<HashMap<Hash, String>>,
    sessions: Mutex<HashMap<Hash, String>>,
    authorization: Py<PyAny>,
    response: Py<PyAny>,
}

#[pymethods]
impl Prototype {
    /// Takes the provider's key set as it was fetched, the user name of each subject, and werkzeug's `Authorization` and
    /// Flask's `Response`, so that they are imported once.
    #[new]
    fn new(
        issuer: &str,
        audience: &str,
        key_set: &str,
        users: HashMap<String, String>,
        authorization: Py<PyAny>,
        response: Py<PyAny>,
    ) -> PyResult<Self> {
        let set: JwkSet = serde_json::from_str(key_set).map_err(refused)?;
        let keys = set
            .keys
            .iter()
            .map(|jwk| {
                let kid = jwk.common.key_id.clone().ok_or_else(|| refused("a key without kid"))?;
                Ok((kid, key(jwk, issuer, audience)?))
            })
            .collect::<PyResult<_>>()?;
        let (tokens, sessions) = (Mutex::default(), Mutex::default());
        Ok(Self { keys, users, tokens, sessions, authorization, response })
    }

    /// A session by its cookie's value.
    fn add_session(&self, value: &str, username: String) {
        lock(&self.sessions).insert(hash(value), username);
    }

    /// The whole function: `Authorization` with the user name, or the `Response` to send instead.
    fn authenticate<'py>(
        &self,
        py: Python<'py>,
        header: Option<&str>,
        cookie: Option<&str>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let username = match (header, cookie) {
            (Some(header), _) => header.strip_prefix("Bearer ").and_then(|token| self.bearer(py, token)),
            (None, Some(cookie)) => self.session(cookie),
            (None, None) => None,
        };
        match username {
            Some(username) => {
                let data = [("username", username)].into_py_dict(py)?;
                self.authorization.bind(py).call1(("basic", data))
            }
            None => {
                let arguments = PyDict::new(py);
                arguments.set_item("status", 401)?;
                self.response.bind(py).call((), Some(&arguments))
            }
        }
    }
}

impl Prototype {
    fn bearer(&self, py: Python<'_>, token: &str) -> Option<String> {
        let hash = hash(token);
        if let Some(username) = lock(&self.tokens).get(&hash) {
            return Some(username.clone());
        }
        py.detach(|| {
            let username = self.verified(token)?;
            lock(&self.tokens).insert(hash, username.clone());
            Some(username)
        })
    }

    fn verified(&self, token: &str) -> Option<String> {
        let key = self.keys.get(&decode_header(token).ok()?.kid?)?;
        let claims = decode::<Claims>(token, &key.decoding, &key.validation).ok()?.claims;
        self.users.get(&claims.sub).cloned()
    }

    fn session(&self, cookie: &str) -> Option<String> {
        let value = cookie.split("; ").find_map(|pair| pair.strip_prefix("session="))?;
        lock(&self.sessions).get(&hash(value)).cloned()
    }
}

fn key(jwk: &Jwk, issuer: &str, audience: &str) -> PyResult<Key> {
    let algorithm = jwk.common.key_algorithm.ok_or_else(|| refused("a key without alg"))?;
    let mut validation = Validation::new(algorithm.to_string().parse().map_err(refused)?);
    validation.set_issuer(&[issuer]);
    validation.set_audience(&[audience]);
    validation.set_required_spec_claims(&["iss", "aud", "exp", "sub"]);
    Ok(Key { decoding: DecodingKey::from_jwk(jwk).map_err(refused)?, validation })
}

fn refused(reason: impl std::fmt::Display) -> PyErr {
    PyValueError::new_err(reason.to_string())
}

fn hash(text: &str) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    hash
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[pymodule(gil_used = true)]
mod mlflow_oidc_prototype {
    #[pymodule_export]
    use super::Prototype;
}
