//! A browser: keeps the one cookie, goes to the provider and comes back.

use super::ask::{Answered, Ask};
use super::draft::Draft;
use super::provider::ok;
use super::world::World;
use std::collections::BTreeMap;
use url::Url;

/// A cookie jar with one place. Cookie name and path are the server's business; the jar sends back what it was given.
#[derive(Clone, Debug, Default)]
pub struct Browser {
    pub cookie: Option<String>,
    /// The static prefix of the server.
    pub prefix: String,
}

impl Browser {
    /// Opens a page.
    pub fn open(&mut self, world: &World, path_and_query: &str) -> Answered {
        let ask = Ask::get(&format!("{}{path_and_query}", self.prefix)).navigation();
        self.send(world, ask)
    }

    /// Sends a request with the cookie and keeps what comes back.
    pub fn send(&mut self, world: &World, ask: Ask) -> Answered {
        let ask = match &self.cookie {
            Some(cookie) => ask.cookie(&format!("theme=dark; {cookie}")),
            None => ask,
        };
        let answered = ask.of(world);
        if let mlflow_oidc::app::wire::Decision::Reply(_) = &answered.0
            && let Some(line) = answered.header("Set-Cookie")
        {
            let pair = line.split(';').next().unwrap();
            self.cookie = (!pair.ends_with('=')).then(|| pair.to_owned());
        }
        answered
    }

    /// Begins a login; what the provider is asked with.
    pub fn begin(&mut self, world: &World, next: &str) -> BTreeMap<String, String> {
        let query: String = url::form_urlencoded::byte_serialize(next.as_bytes()).collect();
        let answered = self.open(world, &format!("/oidc/login?next={query}&go=1"));
        assert_eq!(answered.status(), 302, "{:?}", answered.0);
        let address = Url::parse(answered.location()).unwrap();
        address.query_pairs().into_owned().collect()
    }

    /// Comes back with a code, for which the provider has this ID token.
    pub fn come_back(
        &mut self,
        world: &World,
        asked: &BTreeMap<String, String>,
        draft: &mut Draft,
    ) -> Answered {
        let answer = draft.answer_to(&asked["nonce"]).token_answer();
        world.provider.change(|script| script.token = ok(&answer));
        self.open(world, &format!("/oidc/callback?code=good-code&state={}", asked["state"]))
    }

    /// A whole login.
    pub fn sign_in(&mut self, world: &World, mut draft: Draft) -> Answered {
        let asked = self.begin(world, "/");
        self.come_back(world, &asked, &mut draft)
    }

    /// Somebody who has signed in.
    pub fn signed_in(world: &World, draft: Draft) -> Self {
        Self::signed_in_at(world, draft, "http://localhost:5000/")
    }

    /// Somebody who has signed in and came back to this address.
    pub fn signed_in_at(world: &World, draft: Draft, address: &str) -> Self {
        let mut browser = Self::default();
        let answered = browser.sign_in(world, draft);
        assert_eq!(answered.status(), 302, "{:?}", answered.0);
        assert_eq!(answered.location(), address);
        browser
    }
}
