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
mod gateway;
mod hosts;
mod login;
mod pages;
mod people;
mod provider;
mod rejects;
mod return_to;
mod sessions;
mod standing;
mod support;
mod userinfo;
mod waiting;
