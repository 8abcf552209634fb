//! Authenticated encryption of what is kept in the browser or beside a session row.

use crate::error::{Error, Result};
use crate::secret::{Secret, same};
use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Seals and opens with AES-256-GCM-SIV (RFC 8452), which stays safe if a random nonce should ever repeat.
pub struct Sealer {
    keys: Vec<LessSafeKey>,
    marks: Vec<hmac::Key>,
}

/// A nonce; drawn at random by the caller for every sealing.
pub type SealNonce = [u8; NONCE_LEN];

struct KeyLength;

impl KeyType for KeyLength {
    fn len(&self) -> usize {
        32
    }
}

impl Sealer {
    /// Keys derived (HKDF-SHA-256, RFC 5869) from the secrets: the first seals, all of them open.
    ///
    /// # Errors
    /// `internal` when there is no secret at all.
    pub fn new(secrets: &[Secret]) -> Result<Self> {
        let keys = secrets.iter().map(derive).collect::<Result<Vec<_>>>()?;
        if keys.is_empty() {
            return Err(Error::internal("no session secret"));
        }
        let marks = secrets.iter().map(derive_mark).collect::<Result<Vec<_>>>()?;
        Ok(Self { keys, marks })
    }

    /// A nonce for an ID token that we can tell to be ours when we see it again: 16 random bytes and a mark of 16.
    ///
    /// The ID token of a browser's login travels through the browser again at logout (`id_token_hint`) and stays in its
    /// history; with its nonce marked it is worth nothing as a bearer.
    ///
    /// # Errors
    /// `internal`.
    pub fn marked_nonce(&self, random: [u8; 16]) -> Result<Secret> {
        let key = self.marks.first().ok_or_else(|| Error::internal("no session secret"))?;
        let mark = hmac::sign(key, &random);
        Ok(Secret::new(URL_SAFE_NO_PAD.encode([random.as_slice(), &mark.as_ref()[..16]].concat())))
    }

    /// Whether a nonce was made by [`Sealer::marked_nonce`].
    pub fn is_marked(&self, nonce: &str) -> bool {
        let Ok(bytes) = URL_SAFE_NO_PAD.decode(nonce) else { return false };
        let Some((random, mark)) = bytes.split_at_checked(16) else { return false };
        self.marks.iter().any(|key| same(&hmac::sign(key, random).as_ref()[..16], mark))
    }

    /// Seals `plain` for one `purpose`; what is sealed for one does not open for another.
    ///
    /// # Errors
    /// `internal`.
    pub fn seal(&self, purpose: &str, plain: &[u8], nonce: SealNonce) -> Result<String> {
        let key = self.keys.first().ok_or_else(|| Error::internal("no session secret"))?;
        let mut sealed = plain.to_vec();
        key.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(purpose.as_bytes()),
            &mut sealed,
        )
        .map_err(|_| Error::internal("sealing failed"))?;
        Ok(URL_SAFE_NO_PAD.encode([nonce.as_slice(), &sealed].concat()))
    }

    /// Opens what [`Sealer::seal`] made; `None` for everything else.
    pub fn open(&self, purpose: &str, sealed: &str) -> Option<Vec<u8>> {
        let bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, body) = bytes.split_at_checked(NONCE_LEN)?;
        let nonce: SealNonce = nonce.try_into().ok()?;
        self.keys.iter().find_map(|key| {
            let mut body = body.to_vec();
            let plain = key
                .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(purpose.as_bytes()), &mut body)
                .ok()?;
            Some(plain.to_vec())
        })
    }
}

fn derive(secret: &Secret) -> Result<LessSafeKey> {
    let bytes = expand(secret, b"seal v1")?;
    let failed = |_| Error::internal("key derivation failed");
    UnboundKey::new(&AES_256_GCM_SIV, &bytes).map(LessSafeKey::new).map_err(failed)
}

fn derive_mark(secret: &Secret) -> Result<hmac::Key> {
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &expand(secret, b"nonce v1")?))
}

fn expand(secret: &Secret, purpose: &[u8]) -> Result<[u8; 32]> {
    let mut bytes = [0_u8; 32];
    Salt::new(HKDF_SHA256, b"mlflow-oidc")
        .extract(secret.expose().as_bytes())
        .expand(&[purpose], KeyLength)
        .and_then(|okm| okm.fill(&mut bytes))
        .map_err(|_| Error::internal("key derivation failed"))?;
    Ok(bytes)
}
