//! Deciding who a request is. Pure: everything outside comes in through [`crate::ports`].

mod accounts;
pub mod answer;
mod backchannel;
mod bearer;
mod browser;
mod callback;
pub mod doctor;
mod exchange;
mod login;
mod logout;
mod pages;
mod provider;
mod recheck;
mod refresh;
mod refusals;
mod resource;
pub mod return_to;
pub mod role_plan;
mod roles;
mod routes;
mod silent;
mod sites;
mod sources;
mod trouble;
mod unknown_keys;
mod users;
pub mod weight;
pub mod wire;

pub use accounts::NO_PASSWORD;

use crate::config::{Config, Site};
use crate::error::{Error, Result};
use crate::identity::{Identity, Statement};
use crate::jose::Object;
use crate::oidc::token;
use crate::ports::{Level, World};
use crate::secret::Secret;
use crate::session::cookie::{self, CookieRules};
use crate::session::{CookieValue, Sealer};
use provider::Provider;
use sites::Sites;
use std::sync::Arc;
use std::time::Duration;
use wire::{Decision, Request};

/// One configured engine; one per process.
pub struct App {
    config: Config,
    world: World,
    sealer: Sealer,
    provider: Provider,
    exchanges: exchange::Exchanges,
    tokens: bearer::Tokens,
    sessions: browser::Sessions,
    rechecks: recheck::Rechecks,
    people: users::People,
    roles: roles::LeftOut,
    sites: Sites,
    refusals: refusals::Refusals,
}

/// Somebody who may go on.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Admitted {
    identity: Arc<Identity>,
    /// The MLflow user, bound at the first login; it may differ from the name that the claims give today.
    username: Arc<str>,
}

impl App {
    /// Puts the parts together. Does no I/O.
    ///
    /// # Errors
    /// `internal`.
    pub fn new(config: Config, world: World) -> Result<Self> {
        Ok(Self {
            sealer: Sealer::new(&config.session_secrets)?,
            provider: Provider::new(),
            exchanges: exchange::Exchanges::new(),
            tokens: bearer::Tokens::new(),
            sessions: browser::Sessions::new(),
            rechecks: recheck::Rechecks::default(),
            people: users::People::new(),
            roles: roles::LeftOut::default(),
            sites: Sites::new(&config.place),
            refusals: refusals::Refusals::default(),
            config,
            world,
        })
    }

    /// Decides one request. Never fails: every fault becomes a reply.
    pub fn decide(&self, request: &Request<'_>) -> Decision {
        match routes::decide(self, request) {
            Ok(decision) => decision,
            Err(error) => self.refuse(request, &error, None),
        }
    }

    /// Who a request is, where memory alone can tell: what [`App::decide`] would say, at the price of a hash and a look or two.
    /// It does no I/O and waits for nobody, so that it may be asked with the interpreter's lock held.
    pub fn recall(&self, request: &Request<'_>) -> Option<Arc<str>> {
        routes::recall(self, request)
    }

    /// Decides about somebody whose password MLflow has found right: accounts that a login made have none to use.
    ///
    /// It comes after MLflow's check, with the name that MLflow's own parser read, so that no difference between two
    /// parsers of the header can be used.
    pub fn admit_password_user(&self, request: &Request<'_>, username: &str) -> Decision {
        match users::check_password_allowed(self, username, request.on_event_loop) {
            Ok(()) => Decision::Allow { username: username.into() },
            Err(error) => self.refuse(request, &error, None),
        }
    }

    /// How long MLflow's own look-ups may be remembered, in seconds; 0 is not at all.
    pub fn permission_cache_seconds(&self) -> i64 {
        self.config.permission_cache
    }

    /// One round of the refresher: fetches metadata and keys that are due, and looks whether logins can end again. Returns
    /// how long it may sleep. It blocks.
    pub fn refresh(&self) -> Duration {
        provider::refresh(self).min(exchange::look(self))
    }

    /// One round of the clerk: makes the tables, writes what the event loop could not wait for, asks the provider about sessions for
    /// which it is time, and sums up what was refused. It blocks.
    pub fn attend(&self) -> Duration {
        refusals::sum_up(self);
        users::attend(self).min(recheck::attend(self))
    }

    /// Who the claims of a verified token mean. What it says of its time is not believed beyond now: a provider whose clock is ahead
    /// must not make its next tokens look old.
    fn identify(&self, claims: &Object) -> Result<Statement> {
        self.config.rules.identify(&self.config.issuer, claims).map(|statement| self.bounded(statement))
    }

    /// The same of somebody who has an account.
    fn identify_again(&self, claims: &Object, username: &str) -> Result<Statement> {
        let rules = &self.config.rules;
        rules.identify_again(&self.config.issuer, claims, username).map(|statement| self.bounded(statement))
    }

    fn bounded(&self, statement: Statement) -> Statement {
        Statement { told_at: statement.told_at.min(self.now()), ..statement }
    }

    /// How we prove ourselves at the token endpoint.
    fn client(&self) -> token::Client<'_> {
        token::Client { id: &self.config.client_id, secret: self.config.client_secret.as_ref() }
    }

    fn now(&self) -> i64 {
        self.world.clock.now()
    }

    fn log(&self, level: Level, line: &str) {
        self.world.log.log(level, line);
    }

    fn random<const N: usize>(&self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.world.entropy.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn site(&self, request: &Request<'_>) -> Result<Arc<Site>> {
        self.sites.of(&self.config.place, request)
    }

    fn cookie_rules(&self, site: &Site) -> CookieRules {
        CookieRules::new(&site.base, site.is_https(), self.config.place.is_fixed())
    }

    /// What the browser's cookie says; nothing when there is none of ours.
    ///
    /// # Errors
    /// `cookie_ambiguous`: several say different things, and no one of them is picked.
    fn cookie(&self, request: &Request<'_>) -> Result<CookieValue> {
        CookieValue::agree(&self.cookies(request))
    }

    /// The same for a request that brings the end of a login.
    ///
    /// # Errors
    /// `cookie_ambiguous`.
    fn cookie_of_login(&self, request: &Request<'_>, state: &Secret) -> Result<CookieValue> {
        CookieValue::agree_on_login(&self.cookies(request), state)
    }

    /// Every cookie of our name that opens.
    fn cookies(&self, request: &Request<'_>) -> Vec<CookieValue> {
        self.cookie_values(request)
            .into_iter()
            .flatten()
            .filter_map(|value| CookieValue::open(&self.sealer, value))
            .collect()
    }

    /// The values of our name, as they were sent; nothing at an address that is not ours.
    fn cookie_values<'r>(&self, request: &Request<'r>) -> Option<impl Iterator<Item = &'r str> + use<'r>> {
        let header = request.cookie?;
        self.site(request).ok()?;
        Some(cookie::values(header, self.sites.cookie_name))
    }

    /// The one `Set-Cookie` that makes the browser hold `value`.
    fn set_cookie(&self, site: &Site, value: &CookieValue) -> Result<String> {
        let rules = self.cookie_rules(site);
        if value.is_empty() {
            return Ok(rules.remove());
        }
        let sealed = value.seal(&self.sealer, self.random()?)?;
        // An unfinished login needs no longer than it may take; a session ends in the database, the cookie with it.
        let seconds =
            if value.session.is_some() { self.config.session_lifetime } else { login::ATTEMPT_LIFETIME };
        Ok(rules.set(&sealed, seconds))
    }

    fn refuse(&self, request: &Request<'_>, error: &Error, set_cookie: Option<String>) -> Decision {
        refusals::write(self, request, error);
        let site = self.site(request).ok();
        Decision::Reply(answer::reply(request, error, site.as_deref(), &self.config.place, set_cookie))
    }
}
