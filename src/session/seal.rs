//! Authenticated encryption of what is kept in the browser or beside a session row.

use crate::error::{Error, Result};
use crate::secret::Secret;
use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Seals and opens with AES-256-GCM-SIV (RFC 8452), which stays safe if a random nonce should ever repeat.
pub struct Sealer {
    keys: Vec<LessSafeKey>,
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
        Ok(Self { keys })
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
    let failed = |_| Error::internal("key derivation failed");
    let mut bytes = [0_u8; 32];
    Salt::new(HKDF_SHA256, b"mlflow-oidc")
        .extract(secret.expose().as_bytes())
        .expand(&[b"seal v1"], KeyLength)
        .and_then(|okm| okm.fill(&mut bytes))
        .map_err(failed)?;
    UnboundKey::new(&AES_256_GCM_SIV, &bytes).map(LessSafeKey::new).map_err(failed)
}
