//! One request, and what was answered: every answer is held to the rules that hold for all of them.

use super::world::World;
use mlflow_oidc::app::answer;
use mlflow_oidc::app::wire::{Decision, Reply, Request};
use mlflow_oidc::config::Fault;
use serde_json::Value;

/// A request being written.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    method: String,
    path: String,
    query: String,
    scheme: String,
    host: String,
    authorization: Option<String>,
    gateway_authorization: Option<String>,
    cookie: Option<String>,
    accept: Option<String>,
    fetch_mode: Option<String>,
    fetch_site: Option<String>,
    origin: Option<String>,
    body: Option<String>,
    on_event_loop: bool,
}

impl Ask {
    pub fn new(method: &str, path_and_query: &str) -> Self {
        let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            scheme: "http".to_owned(),
            host: "localhost:5000".to_owned(),
            ..Self::default()
        }
    }

    pub fn get(path_and_query: &str) -> Self {
        Self::new("GET", path_and_query)
    }

    pub fn post(path_and_query: &str) -> Self {
        Self::new("POST", path_and_query)
    }

    /// Of a browser that opens a page.
    pub fn navigation(self) -> Self {
        Self { fetch_mode: Some("navigate".to_owned()), accept: Some("text/html,*/*".to_owned()), ..self }
    }

    pub fn bearer(self, token: &str) -> Self {
        self.authorization(&format!("Bearer {token}"))
    }

    pub fn authorization(self, value: &str) -> Self {
        Self { authorization: Some(value.to_owned()), ..self }
    }

    pub fn gateway_authorization(self, value: &str) -> Self {
        Self { gateway_authorization: Some(value.to_owned()), ..self }
    }

    pub fn cookie(self, value: &str) -> Self {
        Self { cookie: Some(value.to_owned()), ..self }
    }

    pub fn accept(self, value: &str) -> Self {
        Self { accept: Some(value.to_owned()), ..self }
    }

    pub fn fetch_mode(self, value: &str) -> Self {
        Self { fetch_mode: Some(value.to_owned()), ..self }
    }

    pub fn fetch_site(self, value: &str) -> Self {
        Self { fetch_site: Some(value.to_owned()), ..self }
    }

    pub fn origin(self, value: &str) -> Self {
        Self { origin: Some(value.to_owned()), ..self }
    }

    pub fn body(self, value: &str) -> Self {
        Self { body: Some(value.to_owned()), ..self }
    }

    pub fn host(self, value: &str) -> Self {
        Self { host: value.to_owned(), ..self }
    }

    pub fn scheme(self, value: &str) -> Self {
        Self { scheme: value.to_owned(), ..self }
    }

    pub fn on_event_loop(self) -> Self {
        Self { on_event_loop: true, ..self }
    }

    /// Lets the engine decide. What memory alone says must be what is said after looking, whatever is asked.
    pub fn of(&self, world: &World) -> Answered {
        let request = self.request();
        let recalled = world.app.recall(&request);
        let decided = world.app.decide(&request);
        if let Some(username) = recalled {
            assert_eq!(decided, Decision::Allow { username }, "let in by memory: {self:?}");
        }
        self.held(decided)
    }

    /// Who it is, if memory alone can tell.
    pub fn recalled_by(&self, world: &World) -> Option<String> {
        world.app.recall(&self.request()).map(|username| username.to_string())
    }

    /// Asks a server whose settings are wrong.
    pub fn of_misconfigured(&self, faults: &[Fault]) -> Answered {
        self.held(Decision::Reply(answer::misconfigured(&self.request(), faults)))
    }

    /// MLflow has found the password of this user right.
    pub fn with_right_password(&self, world: &World, username: &str) -> Answered {
        self.held(world.app.admit_password_user(&self.request(), username))
    }

    fn held(&self, decision: Decision) -> Answered {
        if let Decision::Reply(reply) = &decision {
            hold_to_the_rules_for_all(reply, &format!("{self:?}"));
        }
        Answered(decision)
    }

    /// The request as the engine is asked.
    pub fn request(&self) -> Request<'_> {
        Request {
            method: &self.method,
            path: &self.path,
            query: &self.query,
            scheme: &self.scheme,
            host: &self.host,
            authorization: self.authorization.as_deref(),
            gateway_authorization: self.gateway_authorization.as_deref(),
            cookie: self.cookie.as_deref(),
            accept: self.accept.as_deref(),
            fetch_mode: self.fetch_mode.as_deref(),
            fetch_site: self.fetch_site.as_deref(),
            origin: self.origin.as_deref(),
            body: self.body.as_deref(),
            on_event_loop: self.on_event_loop,
        }
    }
}

/// uvicorn under MLflow 3.5 and later keeps one header of a name (mlflow.md, fact 2); RFC 9110 section 15.5.2 wants a
/// challenge with every 401; nobody may store what is said to one person.
fn hold_to_the_rules_for_all(reply: &Reply, context: &str) {
    let mut names: Vec<String> = reply.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    names.sort();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count, "a header twice: {context}");
    for (name, value) in &reply.headers {
        let line = value.chars().all(|c| !c.is_control() && c.is_ascii());
        assert!(line, "{name}: {value:?} does not fit a header: {context}");
    }
    let has = |name: &str| names.iter().any(|known| known == name);
    assert_eq!(has("www-authenticate"), reply.status == 401, "{} and its challenge: {context}", reply.status);
    assert_eq!(has("retry-after"), reply.status == 503, "{} and Retry-After: {context}", reply.status);
    assert!(has("cache-control"), "no Cache-Control: {context}");
}

/// What was decided.
#[derive(Clone, Debug)]
pub struct Answered(pub Decision);

impl Answered {
    pub fn reply(&self) -> &Reply {
        match &self.0 {
            Decision::Reply(reply) => reply,
            other => panic!("not answered here but {other:?}"),
        }
    }

    pub fn status(&self) -> u16 {
        self.reply().status
    }

    pub fn body(&self) -> &str {
        &self.reply().body
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let known = |(known, _): &&(&'static str, String)| known.eq_ignore_ascii_case(name);
        self.reply().headers.iter().find(known).map(|(_, value)| value.as_str())
    }

    pub fn location(&self) -> &str {
        self.header("Location").unwrap_or_else(|| panic!("no Location: {:?}", self.0))
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(self.body()).unwrap_or_else(|_| panic!("not JSON: {:?}", self.0))
    }

    pub fn is_page(&self) -> bool {
        self.header("Content-Type").is_some_and(|kind| kind.starts_with("text/html"))
    }

    /// The stable code: of the JSON, or of the page's last line.
    pub fn code(&self) -> String {
        if !self.is_page() {
            return self.json()["code"]
                .as_str()
                .unwrap_or_else(|| panic!("no code: {:?}", self.0))
                .to_owned();
        }
        let line = self.body().split_once("Code: ").unwrap_or_else(|| panic!("no code: {:?}", self.0)).1;
        line.split('<').next().unwrap().to_owned()
    }

    /// Status and code, for comparing in one line.
    pub fn refusal(&self) -> (u16, String) {
        (self.status(), self.code())
    }

    /// What became of it in one line, whatever that is: for tables, where one row must not stop the others.
    pub fn outcome(&self) -> (u16, String) {
        match &self.0 {
            Decision::Allow { username } => (200, format!("let in as {username}")),
            Decision::Basic { .. } => (200, "left to MLflow".to_owned()),
            Decision::Reply(reply) if reply.status < 400 => (reply.status, "no refusal".to_owned()),
            Decision::Reply(_) => self.refusal(),
        }
    }

    /// Who it runs as.
    pub fn username(&self) -> &str {
        match &self.0 {
            Decision::Allow { username } => username,
            other => panic!("nobody was let in: {other:?}"),
        }
    }
}
