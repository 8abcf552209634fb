//! The authorization response (OpenID Connect Core section 3.1.2.5, RFC 6749 section 4.1.2, RFC 9207).

use crate::error::{Code, Error, Result, quote};
use crate::secret::Secret;
use url::form_urlencoded;

/// The parameters that decide something; a repeated one is refused (RFC 6749 section 3.1: parameter pollution).
const SINGLE: [&str; 5] = ["code", "state", "iss", "error", "error_description"];
/// The longest value, in bytes.
const VALUE_LIMIT: usize = 8 * 1024;

/// What the provider answered through the browser, read but not matched to a login yet.
#[derive(Debug, Default)]
pub struct CallbackQuery {
    code: Option<Secret>,
    state: Option<Secret>,
    issuer: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
}

impl CallbackQuery {
    /// Reads the query string.
    ///
    /// # Errors
    /// `callback_malformed` on a repeated, over-long or missing parameter.
    pub fn parse(query: &str) -> Result<Self> {
        let malformed = |found: String| {
            Error::new(Code::CallbackMalformed, "one 'state' and one 'code' or 'error'", found)
        };
        let mut values: [Option<String>; 5] = Default::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let Some(index) = SINGLE.iter().position(|single| *single == name) else {
                continue;
            };
            if value.len() > VALUE_LIMIT {
                return Err(malformed(format!("'{name}' of {} bytes", value.len())));
            }
            if values[index].replace(value.into_owned()).is_some() {
                return Err(malformed(format!("'{name}' twice")));
            }
        }
        let [code, state, issuer, error, error_description] =
            values.map(|value| value.filter(|text| !text.is_empty()));
        if state.is_none() {
            return Err(malformed("no 'state'".into()));
        }
        if code.is_some() == error.is_some() {
            return Err(malformed(if code.is_some() { "both 'code' and 'error'" } else { "neither" }.into()));
        }
        Ok(Self {
            code: code.map(Secret::new),
            state: state.map(Secret::new),
            issuer,
            error,
            error_description,
        })
    }

    /// Whether a query looks like an authorization response at all. For a callback at an address that has other uses.
    pub fn is_present(query: &str) -> bool {
        let has = |wanted: &str| form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == wanted);
        has("state") && (has("code") || has("error"))
    }

    /// The `state`, to find the login that this answers.
    pub fn state(&self) -> Option<&Secret> {
        self.state.as_ref()
    }

    /// Whether the provider will not go on without speaking to the person (Core section 3.1.2.6), or for another reason that a
    /// login in which it may would tell them. Not where it says that it is in trouble itself.
    pub fn wants_person(&self) -> bool {
        self.error
            .as_deref()
            .is_some_and(|error| !matches!(error, "server_error" | "temporarily_unavailable"))
    }

    /// Checks `iss` (RFC 9207 section 2.4).
    ///
    /// # Errors
    /// `callback_issuer`.
    pub fn check_issuer(&self, issuer: &str, required: bool) -> Result<()> {
        match &self.issuer {
            Some(found) if found != issuer => {
                Err(Error::new(Code::CallbackIssuer, format!("iss {}", quote(issuer)), quote(found)))
            }
            None if required => {
                Err(Error::new(Code::CallbackIssuer, format!("iss {}", quote(issuer)), "no 'iss'"))
            }
            _ => Ok(()),
        }
    }

    /// The code, once `state` has been matched: checks `iss` first, then `error`.
    ///
    /// # Errors
    /// `callback_issuer`, `login_denied`, `provider_error`.
    pub fn into_code(self, issuer: &str, issuer_required: bool) -> Result<Secret> {
        self.check_issuer(issuer, issuer_required)?;
        if let Some(error) = &self.error {
            let code = if error == "access_denied" { Code::LoginDenied } else { Code::ProviderError };
            let mut found = format!("error {}", quote(error));
            if let Some(description) = &self.error_description {
                found.push_str(&format!(": {}", quote(description)));
            }
            return Err(Error::new(code, "an authorization code", found));
        }
        self.code.ok_or_else(|| Error::new(Code::CallbackMalformed, "'code'", "none"))
    }
}
