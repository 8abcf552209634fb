//! The signature algorithms that exist for us. `none` and HMAC have no variant, so no code path can reach them.

use std::fmt;

macro_rules! algorithms {
    ($($variant:ident $name:literal;)*) => {
        /// An asymmetric JWS algorithm (RFC 7518 section 3.1, RFC 8037 section 3.1).
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs)]
        pub enum Algorithm { $($variant,)* }

        impl Algorithm {
            /// All of them.
            pub const ALL: &'static [Algorithm] = &[$(Algorithm::$variant,)*];

            /// The registered name.
            pub const fn name(self) -> &'static str {
                match self { $(Algorithm::$variant => $name,)* }
            }

            pub(super) const fn backend(self) -> jsonwebtoken::Algorithm {
                match self { $(Algorithm::$variant => jsonwebtoken::Algorithm::$variant,)* }
            }
        }
    };
}

algorithms! {
    RS256 "RS256"; RS384 "RS384"; RS512 "RS512";
    PS256 "PS256"; PS384 "PS384"; PS512 "PS512";
    ES256 "ES256"; ES384 "ES384";
    EdDSA "EdDSA";
}

impl Algorithm {
    /// The algorithm of that name; names are case-sensitive (RFC 7515 section 4.1.1).
    pub fn from_name(name: &str) -> Option<Self> {
        let known = Self::ALL.iter().copied().find(|algorithm| algorithm.name() == name);
        // The only EdDSA that we have has a second name, which says which curve it is (RFC 9864 section 2.2).
        known.or_else(|| (name == "Ed25519").then_some(Self::EdDSA))
    }

    /// The hash of the algorithm, for `at_hash` (OpenID Connect Core section 3.1.3.6).
    pub fn digest(self) -> &'static aws_lc_rs::digest::Algorithm {
        match self {
            Self::RS256 | Self::PS256 | Self::ES256 => &aws_lc_rs::digest::SHA256,
            Self::RS384 | Self::PS384 | Self::ES384 => &aws_lc_rs::digest::SHA384,
            // Ed25519 signs with SHA-512, and providers that sign ID tokens with it hash likewise.
            Self::RS512 | Self::PS512 | Self::EdDSA => &aws_lc_rs::digest::SHA512,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
