// SPDX-License-Identifier: Apache-2.0
//! Checks of the test harness: the scripted server, the scripted registry and the peers.

#[path = "."]
mod with_peers {
    mod doubles;
    mod doubles_referrers;
    mod doubles_tokens;
    mod doubles_writes;
    mod fake_registry;
    mod fake_server;
    mod fake_uploads;
    mod peers;
}
