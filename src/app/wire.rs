//! A request as plain values, and what is decided about it.

use std::sync::Arc;

/// What is looked at of an HTTP request. Borrowed text, nothing parsed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request<'a> {
    /// In capitals.
    pub method: &'a str,
    /// Decoded path, static prefix included.
    pub path: &'a str,
    /// Raw query string without `?`.
    pub query: &'a str,
    /// `http` or `https`, as the server sees it; believed only for loopback and allowed hosts.
    pub scheme: &'a str,
    /// `Host`.
    pub host: &'a str,
    /// `Authorization`.
    pub authorization: Option<&'a str>,
    /// `X-MLflow-Authorization`.
    pub gateway_authorization: Option<&'a str>,
    /// `Cookie`.
    pub cookie: Option<&'a str>,
    /// `Accept`.
    pub accept: Option<&'a str>,
    /// `Sec-Fetch-Mode`.
    pub fetch_mode: Option<&'a str>,
    /// `Sec-Fetch-Site`.
    pub fetch_site: Option<&'a str>,
    /// `Origin`.
    pub origin: Option<&'a str>,
    /// The form of a POST to an endpoint of ours that takes one; nobody else's body is read.
    pub body: Option<&'a str>,
    /// Whether an event loop runs in the calling thread, so that nothing may be waited for.
    pub on_event_loop: bool,
}

impl Request<'_> {
    /// Whether a browser opens this address as a page: then the answer is a page, else JSON.
    ///
    /// Fetch metadata decides where it is sent (all browsers since 2023); without it a GET that asks for HTML first.
    pub fn is_navigation(&self) -> bool {
        match self.fetch_mode {
            Some(mode) => mode == "navigate",
            None => self.method == "GET" && self.accept.is_some_and(prefers_html),
        }
    }

    /// Whether the method is one that changes nothing (RFC 9110 section 9.2.1).
    pub fn is_safe(&self) -> bool {
        matches!(self.method, "GET" | "HEAD" | "OPTIONS")
    }

    /// Path and query as the caller wrote them, as far as they are known.
    pub fn path_and_query(&self) -> String {
        if self.query.is_empty() { self.path.to_owned() } else { format!("{}?{}", self.path, self.query) }
    }
}

/// `text/html` stands in `Accept` before JSON and is not the `*/*` of programs.
fn prefers_html(accept: &str) -> bool {
    let position = |wanted: &str| {
        accept.split(',').position(|item| item.split(';').next().map(str::trim) == Some(wanted))
    };
    match (position("text/html"), position("application/json")) {
        (Some(html), Some(json)) => html < json,
        (Some(_), None) => true,
        (None, _) => false,
    }
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It runs as this MLflow user.
    Allow {
        /// A row of MLflow's `users`.
        username: Arc<str>,
    },
    /// MLflow itself checks user name and password; then [`super::App::admit_password_user`] has the last word.
    Basic {
        /// The header that holds them; at the gateway it need not be `Authorization`.
        authorization: String,
    },
    /// It is answered here.
    Reply(Reply),
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Header fields; each name at most once, since uvicorn under MLflow 3.5 and later keeps the last of a name only.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: String,
}

impl Reply {
    /// An answer without a body that nobody may store.
    pub fn new(status: u16) -> Self {
        Self { status, headers: vec![("Cache-Control", "no-store".to_owned())], body: String::new() }
    }

    /// A redirect that changes a POST into a GET where there was one (RFC 9110 section 15.4.4).
    pub fn redirect(status: u16, location: String) -> Self {
        Self::new(status).with("Location", location)
    }

    /// JSON. It repeats words of others, and a browser must not take it for a page because of them; MLflow says so itself
    /// from 3.5 on, and not on its event loop.
    pub fn json(status: u16, body: &serde_json::Value) -> Self {
        // The type first: werkzeug looks for it in each answer.
        let headers = vec![
            ("Content-Type", "application/json".to_owned()),
            ("Cache-Control", "no-store".to_owned()),
            ("X-Content-Type-Options", "nosniff".to_owned()),
        ];
        Self { status, headers, body: body.to_string() }
    }

    /// Adds a header field, or replaces it.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: String) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self.headers.push((name, value));
        self
    }
}
