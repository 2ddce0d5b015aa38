// SPDX-License-Identifier: Apache-2.0
//! The demonstration that the README promises, on this machine's own files.

use tests::scratch::Scratch;
use tests::tools::shell;

#[test]
fn the_demo_succeeds_and_cleans_up() {
    let dir = Scratch::new();
    let script = concat!("exec ", env!("CARGO_MANIFEST_DIR"), "/demo.sh");
    let run = shell(script).env("TMPDIR", dir.path()).run();
    run.ok();
    assert!(
        run.lines().iter().any(|line| line.contains("are the same, with their modes")),
        "{run}"
    );
    assert_eq!(dir.list(), [""; 0]);
}
