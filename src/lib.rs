//! OpenID Connect behind MLflow's `authorization_function`.
//!
//! The modules stand in one line, and a module may use only modules to its **left**:
//!
//! `error · secret · jose · oidc · identity · session · ports · config · app │ edge · py`
//!
//! Left of the bar there is no clock, no chance, no I/O and no Python; `app` and `edge` meet only in `py`.
#![forbid(unsafe_code)]

pub mod error;
pub mod secret;

pub mod jose;

pub mod oidc;

pub mod identity;
pub mod session;

pub mod ports;

pub mod config;

pub mod app;

#[cfg(feature = "edge")]
pub mod edge;

#[cfg(feature = "python")]
mod py;
