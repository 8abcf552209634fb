//! The rules, each against the whole core in memory: no network, no clock, no thread.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod accepts;
mod backchannel;
mod callback;
mod config;
mod cookie;
mod deciding;
mod event_loop;
mod exchange;
mod flood;
mod gateway;
mod graph;
mod hosts;
mod jws;
mod login;
mod memory;
mod other_origins;
mod pages;
mod people;
mod properties;
mod provider;
mod provider_settings;
mod reading;
mod recheck;
mod rejects;
mod return_to;
mod roles;
mod roles_settings;
mod sessions;
mod shapes;
mod silent;
mod sources;
mod standing;
mod support;
mod userinfo;
mod waiting;
