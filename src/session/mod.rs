//! The one cookie: a session id and the logins that are under way, sealed.

pub mod cookie;
pub mod seal;
pub mod value;

pub use seal::Sealer;
pub use value::{Attempt, CookieValue, SessionId};
