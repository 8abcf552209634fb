//! The world of a test: a clock that stands still until it is moved, chance that counts, threads that are none.

use super::provider::FakeProvider;
use super::roles::MemoryRoles;
use super::tables::{MemoryStore, MemoryUsers};
use mlflow_oidc::app::App;
use mlflow_oidc::config::{self, Config, Facts, Fault, Raw};
use mlflow_oidc::error::Error;
use mlflow_oidc::ports::{self, Background, Clock, Entropy, Level, Log};
use mlflow_oidc::secret::Secret;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, Weak};
use std::time::Duration;

pub const ISSUER: &str = "https://idp.example/realms/test";
pub const CLIENT_ID: &str = "mlflow";
pub const CLIENT_SECRET: &str = "client-secret-0123456789";
/// When every test begins.
pub const NOW: i64 = 1_800_000_000;

pub struct FakeClock(AtomicI64);

impl FakeClock {
    pub fn forward(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for FakeClock {
    fn now(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// No two draws are alike, and none is by chance. It may have an end.
pub struct Counting {
    count: AtomicU64,
    ended: AtomicBool,
}

impl Counting {
    /// From now on there is no chance at all.
    pub fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
    }
}

impl Entropy for Counting {
    fn fill(&self, out: &mut [u8]) -> Result<(), Error> {
        if self.ended.load(Ordering::SeqCst) {
            return Err(Error::internal("no chance"));
        }
        let count = self.count.fetch_add(1, Ordering::SeqCst);
        let seed = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &count.to_be_bytes());
        for (place, byte) in out.iter_mut().zip(seed.as_ref().iter().cycle()) {
            *place = *byte;
        }
        Ok(())
    }
}

/// A thread that is none: a round runs inside `wait`, or when the test says so.
pub struct Rounds {
    app: OnceLock<Weak<App>>,
    round: fn(&App) -> Duration,
    /// Whether `wait` runs a round; else it returns as after a time-out.
    works: AtomicBool,
    /// While this is true, `wait` does not come back.
    held: (Mutex<bool>, Condvar),
    pub woken: AtomicU64,
    pub waited: AtomicU64,
}

impl Rounds {
    fn new(round: fn(&App) -> Duration) -> Arc<Self> {
        Arc::new(Self {
            app: OnceLock::new(),
            round,
            works: AtomicBool::new(true),
            held: (Mutex::new(false), Condvar::new()),
            woken: AtomicU64::new(0),
            waited: AtomicU64::new(0),
        })
    }

    /// The thread hangs, or does its work again.
    pub fn hang(&self, hangs: bool) {
        self.works.store(!hangs, Ordering::SeqCst);
    }

    /// Whoever waits is kept waiting, or let go.
    pub fn hold(&self, holds: bool) {
        *self.held.0.lock().unwrap() = holds;
        self.held.1.notify_all();
    }

    /// Rounds until it would sleep; for how long that is.
    pub fn run(&self) -> Duration {
        let app = self.app.get().and_then(Weak::upgrade).unwrap();
        loop {
            let sleep = (self.round)(&app);
            if !sleep.is_zero() {
                return sleep;
            }
        }
    }
}

impl Background for Rounds {
    fn wake(&self) {
        self.woken.fetch_add(1, Ordering::SeqCst);
    }

    fn wait(&self, _at_most: Duration) {
        self.waited.fetch_add(1, Ordering::SeqCst);
        let held = self.held.0.lock().unwrap();
        drop(self.held.1.wait_while(held, |held| *held).unwrap());
        if self.works.load(Ordering::SeqCst) {
            self.run();
        }
    }
}

/// The lines of the log.
#[derive(Default)]
pub struct Lines(Mutex<Vec<(Level, String)>>, AtomicBool);

impl Lines {
    pub fn all(&self) -> Vec<(Level, String)> {
        self.0.lock().unwrap().clone()
    }

    /// From now on nobody reads what is only for looking closely.
    pub fn without_debug(&self) {
        self.1.store(true, Ordering::SeqCst);
    }

    pub fn text(&self) -> String {
        self.all().into_iter().map(|(_, line)| line + "\n").collect()
    }
}

impl Log for Lines {
    fn is_read(&self, level: Level) -> bool {
        level != Level::Debug || !self.1.load(Ordering::SeqCst)
    }

    fn log(&self, level: Level, line: &str) {
        self.0.lock().unwrap().push((level, line.to_owned()));
    }
}

/// One engine and everything around it.
pub struct World {
    pub app: Arc<App>,
    pub clock: Arc<FakeClock>,
    pub chance: Arc<Counting>,
    pub provider: Arc<FakeProvider>,
    pub store: Arc<MemoryStore>,
    pub users: Arc<MemoryUsers>,
    pub roles: Arc<MemoryRoles>,
    pub refresher: Arc<Rounds>,
    pub clerk: Arc<Rounds>,
    pub log: Arc<Lines>,
}

#[derive(Default)]
struct Tables {
    store: Arc<MemoryStore>,
    users: Arc<MemoryUsers>,
    roles: Arc<MemoryRoles>,
}

/// What MLflow tells in these tests.
pub fn facts() -> Facts {
    Facts {
        admin_username: Some("admin".to_owned()),
        allowed_hosts: vec!["mlflow.example".to_owned()],
        gateway_token: Some(Secret::new("internal-gateway-token")),
        ..Facts::default()
    }
}

/// Settings as the environment gives them, over those that every test needs.
pub fn parse(settings: &[(&str, &str)], facts: &Facts) -> Result<Config, Vec<Fault>> {
    let usual = [
        ("OIDC_ISSUER_URL", ISSUER),
        ("OIDC_CLIENT_ID", CLIENT_ID),
        ("OIDC_CLIENT_SECRET", CLIENT_SECRET),
        ("OIDC_USER_GROUP", "MLFLOW"),
    ];
    let given = |name: &str| settings.iter().any(|(other, _)| *other == name);
    let pairs = usual.iter().filter(|(name, _)| !given(name)).chain(settings);
    let pairs = pairs.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    config::parse(&Raw::gather(pairs, Vec::new(), |_| Err("no files here".to_owned())), facts)
}

impl World {
    pub fn new() -> Self {
        Self::with(&[])
    }

    pub fn with(settings: &[(&str, &str)]) -> Self {
        Self::told(settings, &facts())
    }

    pub fn told(settings: &[(&str, &str)], facts: &Facts) -> Self {
        Self::build(parse(settings, facts).unwrap(), Tables::default())
    }

    /// Settings that may be wrong.
    pub fn try_with(settings: &[(&str, &str)]) -> Result<Self, Vec<Fault>> {
        Ok(Self::build(parse(settings, &facts())?, Tables::default()))
    }

    /// Another engine on the same tables: another worker, or the same server with other settings.
    pub fn beside(&self, settings: &[(&str, &str)]) -> Self {
        let tables = Tables {
            store: Arc::clone(&self.store),
            users: Arc::clone(&self.users),
            roles: Arc::clone(&self.roles),
        };
        Self::build(parse(settings, &facts()).unwrap(), tables)
    }

    fn build(config: Config, tables: Tables) -> Self {
        let Tables { store, users, roles } = tables;
        let clock = Arc::new(FakeClock(AtomicI64::new(NOW)));
        let chance = Arc::new(Counting { count: AtomicU64::new(next_seed()), ended: AtomicBool::new(false) });
        let provider = Arc::new(FakeProvider::new());
        let refresher = Rounds::new(App::refresh);
        let clerk = Rounds::new(App::attend);
        let log = Arc::new(Lines::default());
        let world = ports::World {
            clock: Arc::clone(&clock) as _,
            entropy: Arc::clone(&chance) as _,
            transport: Arc::clone(&provider) as _,
            store: Arc::clone(&store) as _,
            users: Arc::clone(&users) as _,
            roles: Some(Arc::clone(&roles) as _),
            refresher: Arc::clone(&refresher) as _,
            clerk: Arc::clone(&clerk) as _,
            log: Arc::clone(&log) as _,
        };
        let app = Arc::new(App::new(config, world).unwrap());
        refresher.app.set(Arc::downgrade(&app)).unwrap();
        clerk.app.set(Arc::downgrade(&app)).unwrap();
        Self { app, clock, chance, provider, store, users, roles, refresher, clerk, log }
    }
}

/// Two engines must not draw the same numbers: their sessions would have the same name.
fn next_seed() -> u64 {
    static WORLDS: AtomicU64 = AtomicU64::new(0);
    WORLDS.fetch_add(1, Ordering::SeqCst) << 32
}
