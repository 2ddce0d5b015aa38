// SPDX-License-Identifier: Apache-2.0
//! The suite as one program: a folder for each subject, and a file for each part of a subject.
//! README.md lists the place for each kind of test.

mod auth;
mod fidelity;
mod ground;
mod mirrors;
mod network;
mod push;
mod terminal;
mod tls;
mod tools;
mod trace;
mod unpack;
mod whole;
