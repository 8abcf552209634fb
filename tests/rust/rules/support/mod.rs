//! What the tests stand on: keys, tokens, a world in memory, a provider with a script, a browser.

mod ask;
mod browser;
mod draft;
mod keys;
mod provider;
mod roles;
mod tables;
mod world;

pub use ask::{Answered, Ask};
pub use browser::Browser;
pub use draft::Draft;
pub use keys::{Signer, base64url, jwk, public_key_as_der, public_key_as_pem, sign, unpadded_base64url};
pub use provider::{Answer, answer, down, keys, metadata, ok, spoilt};
pub use roles::resource;
pub use world::{CLIENT_ID, CLIENT_SECRET, ISSUER, NOW, World, facts, parse};
