//! One run of one row: its world, its person's browser, and what has happened before.

use super::script;
use super::table::Row;
use super::token::{self, ACCESS_TOKEN, Kind, REFRESH_TOKEN};
use super::values::{Names, number};
use crate::support::{Answered, Ask, Browser, Draft, World, facts, ok, parse};
use mlflow_oidc::config::{Config, Fault};
use mlflow_oidc::ports::{SessionRow, Store as _, StoreFault};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;

type Settings = BTreeMap<String, String>;

pub struct Case<'r> {
    pub row: &'r Row,
    pub names: Names,
    pub world: Arc<World>,
    /// The browser of the row's person.
    pub browser: Browser,
    /// The browser that brings the answer of a callback.
    pub bringer: Option<Browser>,
    /// Whose password MLflow finds right.
    pub has_password: bool,
    settings: Settings,
    crowd: Vec<JoinHandle<()>>,
}

/// A preparation: its name, and what it does with the rest of its list.
type Step = (&'static str, fn(&mut Case<'_>, &[Value]));

const STEPS: &[Step] = &[
    ("first_subject", |case, rest| {
        let name = case.names.text(&rest[0]);
        case.come_as("the-first-subject", &name);
    }),
    ("local_user", |case, rest| case.world.users.add_local(&case.names.text(&rest[0]), false)),
    ("local_admin", |case, rest| case.world.users.add_local(&case.names.text(&rest[0]), true)),
    ("admitted", |case, _| case.come_as("subject-alice", "alice@example.com")),
    ("password", |case, _| {
        case.world.users.set_password(case.names.get("user"));
        case.has_password = true;
    }),
    ("good_token_first", |case, _| {
        let token = token::good(Kind::Bearer, &case.names);
        assert_eq!(Ask::get("/").bearer(&token).of(&case.world).username(), case.names.get("user"));
    }),
    ("login_begun", |case, _| case.begin()),
    ("signed_in", |case, _| case.sign_in()),
    ("another_signed_in", |case, _| {
        let other = Browser::signed_in(&case.world, Draft::id_token().of("mallory"));
        case.names.set("other_cookie", other.cookie.unwrap());
    }),
    ("another_login_begun", |case, _| {
        let mut other = Browser::default();
        let state = other.begin(&case.world, "/").remove("state").unwrap();
        case.names.set("other_state", state);
        case.names.set("other_cookie", other.cookie.unwrap());
    }),
    ("signed_in_then_removed", |case, _| {
        case.sign_in();
        case.world.users.remove(case.names.get("user"));
        case.world.clock.forward(60);
    }),
    ("session_row_gone", |case, _| {
        case.world.store.clear_sessions();
        case.world.clock.forward(60);
    }),
    ("settings", |case, rest| {
        let more = rest[0].as_object().unwrap().iter();
        case.settings.extend(more.map(|(name, value)| (name.clone(), case.names.text(value))));
        case.world = Arc::new(case.world.beside(&pairs(&case.settings)));
        script::prepare(case.row, &case.names, &case.world);
    }),
    ("vouched_for_long_ago", |case, _| case.vouched_for_long_ago()),
    ("another_browser", |case, _| {
        let mut other = Browser::default();
        other.begin(&case.world, "/");
        case.bringer = Some(other);
    }),
    ("no_cookie", |case, _| case.bringer = Some(Browser::default())),
    ("answered_with_error", |case, _| {
        let path = format!("/oidc/callback?error=access_denied&state={}", case.names.get("state"));
        assert_eq!(case.browser.open(&case.world, &path).code(), "login_denied");
    }),
    ("clock", |case, rest| case.world.clock.forward(number(&rest[0]))),
    ("database_broken", |case, _| {
        case.world.clock.forward(60);
        case.world.store.fail(Some(StoreFault::Failed("file is not a database".to_owned())));
    }),
    ("sixteen_exchanges_under_way", |case, _| case.crowd_the_token_endpoint(16)),
    ("broken_engine", |case, _| case.world.chance.end()),
];

fn pairs(settings: &Settings) -> Vec<(&str, &str)> {
    settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

impl<'r> Case<'r> {
    /// The world of a row.
    ///
    /// # Errors
    /// The faults of its settings, where they are what the row is about.
    pub fn new(row: &'r Row) -> Result<Self, Vec<Fault>> {
        let names = Names::new();
        let settings: Settings =
            row.members("settings").map(|(name, value)| (name.clone(), names.text(value))).collect();
        let world = Arc::new(World::try_with(&pairs(&settings))?);
        script::prepare(row, &names, &world);
        let browser = Browser::default();
        Ok(Self {
            row,
            names,
            world,
            browser,
            bringer: None,
            has_password: false,
            settings,
            crowd: Vec::new(),
        })
    }

    /// The row's settings.
    pub fn config(&self) -> Config {
        parse(&pairs(&self.settings), &facts()).unwrap()
    }

    /// Does what has happened before.
    pub fn prepare(&mut self) {
        for step in self.row.list("before") {
            let list = step.as_array().unwrap();
            let name = list[0].as_str().unwrap();
            let known = STEPS.iter().find(|(known, _)| *known == name);
            known.unwrap_or_else(|| panic!("no preparation is called {name}")).1(self, &list[1..]);
        }
    }

    /// The row's person begins a login.
    pub fn begin(&mut self) {
        let asked = self.browser.begin(&self.world, "/");
        self.names.set("state", asked["state"].clone());
        self.names.set("nonce", asked["nonce"].clone());
        self.note_cookie();
    }

    /// And is signed in.
    pub fn sign_in(&mut self) {
        self.begin();
        let answered = self.come_back_well();
        assert_eq!(answered.status(), 302, "{:?}", answered.0);
        self.note_cookie();
        let sealed = self.world.store.sessions().remove(0).sealed_id_token.unwrap();
        self.names.set("sealed_id_token", sealed);
    }

    /// The login that was begun ends with what a good provider says.
    pub fn come_back_well(&mut self) -> Answered {
        let id_token = token::good(Kind::Id, &self.names);
        self.come_back_with(
            &json!({"token_type": "Bearer", "id_token": id_token, "access_token": ACCESS_TOKEN}),
        )
    }

    /// The row's person is signed in, and the provider's word about them is too old.
    pub fn sign_in_long_ago(&mut self) {
        self.begin();
        let id_token = token::good(Kind::Refreshed, &self.names);
        let answered = self.come_back_with(&json!({
            "token_type": "Bearer", "id_token": id_token, "access_token": ACCESS_TOKEN,
            "refresh_token": REFRESH_TOKEN,
        }));
        assert_eq!(answered.status(), 302, "{:?}", answered.0);
        self.note_cookie();
        self.vouched_for_long_ago();
    }

    /// The provider's word about the row's person is older than it may be.
    fn vouched_for_long_ago(&self) {
        let row = self.world.store.sessions().remove(0);
        let old = SessionRow { checked_at: row.checked_at - 4_000, ..row };
        assert!(self.world.store.renew_session(&old, 0, 0).unwrap());
    }

    fn come_back_with(&mut self, answer: &Value) -> Answered {
        self.world.provider.change(|script| script.token = ok(answer));
        let path = format!("/oidc/callback?code=good-code&state={}", self.names.get("state"));
        self.browser.open(&self.world, &path)
    }

    fn note_cookie(&mut self) {
        let cookie = self.browser.cookie.clone().unwrap();
        self.names.set("cookie_value", cookie.split_once('=').unwrap().1);
        self.names.set("cookie", cookie);
    }

    /// A good bearer of somebody.
    fn come_as(&self, subject: &str, name: &str) {
        let mut draft = Draft::bearer();
        draft.set("sub", subject).set("email", name);
        let claim = self.settings.get("OIDC_USERNAME_CLAIM").map_or("email", String::as_str);
        draft.set(claim, name);
        assert_eq!(Ask::get("/").bearer(&draft.token()).of(&self.world).username(), name);
    }

    /// Others wait for the token endpoint, which does not answer until this case is over.
    fn crowd_the_token_endpoint(&mut self, count: usize) {
        // What they get in the end is an answer: the provider is slow, not away.
        self.world.provider.change(|script| script.token = ok(&json!({})));
        self.world.provider.hold(true);
        for _ in 0..count {
            let mut browser = Browser::default();
            let state = browser.begin(&self.world, "/").remove("state").unwrap();
            let world = Arc::clone(&self.world);
            self.crowd.push(std::thread::spawn(move || {
                browser.open(&world, &format!("/oidc/callback?code=another-code&state={state}"));
            }));
        }
        while self.world.provider.count("/token") < count {
            assert!(self.crowd.iter().all(|thread| !thread.is_finished()), "one was turned away");
            std::thread::yield_now();
        }
    }

    /// Whoever waits goes on.
    pub fn let_the_crowd_go(&mut self) {
        self.world.provider.hold(false);
        for thread in self.crowd.drain(..) {
            thread.join().unwrap();
        }
    }

    /// What must be the same before and after, without the tables that a row may change.
    pub fn tables(&self) -> String {
        let may_change = |table: &str| self.row.texts("changes").any(|changed| changed == table);
        let sessions = (!may_change("sessions")).then(|| self.world.store.sessions());
        let identities = self.world.store.identities();
        format!("{:?} {identities:?} {sessions:?}", self.world.users.all())
    }

    /// The answer of the token endpoint that this row gives, with this ID token.
    pub fn script_token_answer(&mut self, id_token: String) {
        self.names.set("id_token", id_token);
        let mut members = self.names.value(&json!({"$tokens": true})).as_object().unwrap().clone();
        if let Some(access_token) = self.row.get("access_token") {
            assert!(access_token.is_null(), "another access token than the usual one");
            members.remove("access_token");
        }
        members.retain(|name, _| !self.row.texts("drop_token_answer").any(|dropped| dropped == name));
        members.extend(self.names.object(self.row.members("token_answer")));
        let whole = script::whole(self.row, &self.names, &self.world, "token");
        let answer = whole.unwrap_or_else(|| ok(&Value::Object(members)));
        self.world.provider.change(|script| script.token = answer);
    }

    /// The answer of the UserInfo endpoint that this row gives.
    pub fn script_userinfo(&self) {
        let good = json!({
            "sub": "${subject}", "email": "${user}", "email_verified": true, "groups": ["MLFLOW"],
        });
        let mut members = self.names.value(&good).as_object().unwrap().clone();
        members.retain(|name, _| !self.row.texts("drop_userinfo").any(|dropped| dropped == name));
        members.extend(self.names.object(self.row.members("userinfo")));
        let whole = script::whole(self.row, &self.names, &self.world, "userinfo");
        let answer = whole.unwrap_or_else(|| ok(&Value::Object(members)));
        self.world.provider.change(|script| script.userinfo = answer);
    }
}
