//! OpenID Connect and OAuth 2.0: requests are built and answers judged here; nobody fetches.

pub mod access_token;
pub mod authorize;
pub mod callback;
pub mod claims;
pub mod discovery;
pub mod graph;
pub mod id_token;
pub mod logout;
pub mod logout_token;
pub mod message;
pub mod pkce;
pub mod refresh;
pub mod token;
pub mod userinfo;

pub use discovery::Metadata;
