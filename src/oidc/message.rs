//! An HTTP request to the provider and its answer, as plain values.

use crate::error::{Code, Error, Result};
use crate::jose::{Object, json};
use crate::secret::Secret;
use std::time::Duration;

/// What is sent.
#[derive(Clone, Debug)]
pub struct Request {
    /// Absolute address.
    pub url: String,
    /// The form of a POST; `None` is a GET.
    pub form: Option<Secret>,
    /// The `Authorization` header.
    pub authorization: Option<Secret>,
    /// How long the answer may take where that is less than usual.
    pub within: Option<Duration>,
}

impl Request {
    /// A plain GET of JSON.
    pub fn get(url: impl Into<String>) -> Self {
        Self { url: url.into(), form: None, authorization: None, within: None }
    }
}

/// What came back, at most as large as the transport allows.
#[derive(Clone, Debug)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`, in lower case and without parameters.
    pub content_type: Option<String>,
    /// Seconds of `Cache-Control: max-age`, unless `no-store` or `no-cache` forbid keeping.
    pub max_age: Option<i64>,
    /// `Date` as it was sent: the provider's clock.
    pub date: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// The body as a JSON object, if the answer is one of success.
    ///
    /// # Errors
    /// `provider_error` on a status that is not 200, `provider_answer` on anything that is not a JSON object.
    pub fn json(&self, what: &'static str) -> Result<Object> {
        if self.status != 200 {
            return Err(Error::new(
                Code::ProviderError,
                format!("status 200 for the {what}"),
                format!("status {}", self.status),
            ));
        }
        self.object(what)
    }

    /// The body as a JSON object, whatever the status.
    ///
    /// # Errors
    /// `provider_answer`.
    pub fn object(&self, what: &'static str) -> Result<Object> {
        let fault = |found: String| Error::new(Code::ProviderAnswer, format!("JSON for the {what}"), found);
        let content_type = self.content_type.as_deref().unwrap_or("no content type");
        // HTML (a proxy's error page, a login page) is named as such; JSON under an unusual type is still JSON.
        if content_type.starts_with("text/html") {
            return Err(fault("an HTML page".into()));
        }
        json::parse_object(&self.body).map_err(fault)
    }
}
