// SPDX-License-Identifier: Apache-2.0
//! Options of other programs (skopeo, crane, regctl, oras, docker, curl). Each has a hint that
//! names the equivalent in these tools.
//!
//! These options are not accepted. The table only helps a user who knows them from elsewhere.

use clap::Command;

/// The hint for the network options in a tool without network access.
const OFFLINE: &str = "this tool has no network access; fetch-blob and push-blob have such options";

/// A row has the names of an option in other programs, the long option that a tool must have for
/// this hint, and the hint. A name that ends in a dash is a prefix. If the long option is empty,
/// every tool gives the hint. The first row that matches is used.
type Row = (&'static [&'static str], &'static str, &'static str);

/// The table.
const ROWS: &[Row] = &[
    (
        &["--src-tls-verify", "--src-insecure", "--src-insecure-skip-tls-verify"],
        "from-insecure",
        "--from-insecure skips certificate checks for --from, --from-plain-http uses http",
    ),
    (
        &[
            "--tls-verify",
            "--src-tls-verify",
            "--dest-tls-verify",
            "-k",
            "--insecure-skip-tls-verify",
            "--insecure-registry",
            "--tls",
        ],
        "plain-http",
        "--insecure skips certificate checks, --plain-http uses http",
    ),
    (&["--http"], "plain-http", "--plain-http uses http"),
    (
        &[
            "--src-creds",
            "--src-username",
            "--src-password",
            "--from-username",
            "--from-password",
            "--src-registry-token",
            "--src-authfile",
        ],
        "from-insecure",
        "credentials for --from are read from files: --authfile, or those of docker and podman",
    ),
    (
        &[
            "--creds",
            "--src-creds",
            "--dest-creds",
            "--user",
            "--pass",
            "--password",
            "--src-username",
            "--src-password",
            "--dest-username",
            "--dest-password",
            "--to-username",
            "--to-password",
            "--from-username",
            "--from-password",
            "--identity-token",
        ],
        "username",
        "-u NAME, with --password-stdin, --password-file or $REGISTRY_PASSWORD",
    ),
    (
        &["--registry-token", "--src-registry-token", "--dest-registry-token"],
        "username",
        "$REGISTRY_TOKEN holds a bearer token",
    ),
    (
        &["--no-creds", "--src-no-creds", "--dest-no-creds"],
        "authfile",
        "--authfile /dev/null uses no credentials",
    ),
    (
        &["--src-authfile", "--dest-authfile", "--registry-config", "--from-registry-config"],
        "authfile",
        "--authfile FILE",
    ),
    (
        &["--cert-dir", "--src-cert-dir", "--dest-cert-dir", "--cacert", "--cert", "--key", "-E"],
        "ca-file",
        "--ca-file, --cert-file and --key-file; or a certs.d directory, see regutils-network(7)",
    ),
    (
        &["--proxy", "-x"],
        "plain-http",
        "$https_proxy and $http_proxy name a proxy, see regutils-network(7)",
    ),
    (&["--location", "-L"], "plain-http", "redirects are followed without an option"),
    (&["--retry", "--retries", "--max-retries"], "retry-times", "--retry-times N"),
    (
        &["--retry-delay", "--retry-max-time"],
        "max-wait",
        "--max-wait SECONDS limits the wait between attempts, --timeout SECONDS the whole run",
    ),
    (
        &["--max-time", "-m", "--command-timeout"],
        "timeout",
        "--timeout SECONDS limits the whole run",
    ),
    (
        &["--debug", "--verbose", "-v", "--verbosity", "--log-level", "-d"],
        "trace",
        "--trace shows requests and responses",
    ),
    (
        &["--insecure-policy", "--policy", "--registries.d"],
        "",
        "regutils has no signature policy: leave the option out",
    ),
    (&["--preserve-digests"], "", "bytes are never changed: leave the option out"),
    (
        &["--arch", "--override-arch", "--os", "--override-os", "--variant", "--override-variant"],
        "platform",
        "-p OS/ARCH[/VARIANT]",
    ),
    (
        &[
            "--arch",
            "--override-arch",
            "--os",
            "--override-os",
            "--variant",
            "--override-variant",
            "--platform",
        ],
        "",
        "fetch-manifest -p OS/ARCH[/VARIANT] selects an image",
    ),
    (&["--raw", "--raw-body"], "", "fetch-manifest prints the exact bytes: leave the option out"),
    (
        &["--format"],
        "",
        "pipe the output to jq; build-manifest --oci or --docker converts media types",
    ),
    (&["--head", "-I"], "descriptor", "--descriptor or --digest sends a HEAD request"),
    (
        &["--all", "--multi-arch", "-a"],
        "",
        "fetch-manifest without -p fetches the index, list-blobs --recursive lists all its images",
    ),
    (
        &["--all-tags"],
        "",
        "list-tags lists the tags; regutils-recipes(7) shows how to copy all of them",
    ),
    (
        &["--dest-compress", "--dest-compress-format", "--compression-format"],
        "compress",
        "--compress gzip or --compress zstd",
    ),
    (&["--compression-level", "--dest-compress-level"], "level", "--level N"),
    (&["--concurrency", "--image-parallel-copies", "--parallel"], "jobs", "-j N"),
    (&["--no-progress", "--no-tty"], "progress", "--progress none"),
    (&["--silent", "-s"], "", "-q drops warnings"),
    (&["--allow-nondistributable-artifacts"], "allow-nondistributable", "--allow-nondistributable"),
    (&["--additional-tag", "-t"], "tag", "--tag TAG, once for each tag"),
    (
        &["--oci-layout", "--from-oci-layout", "--to-oci-layout", "--oci-layout-path"],
        "",
        "give the layout as oci:DIR[:TAG], without an option",
    ),
    (&["--rootless"], "no-same-owner", "--no-same-owner"),
    (
        &["--src-"],
        "from-insecure",
        "the source is --from STORE, with --from-plain-http and --from-insecure",
    ),
    (
        &["--src-", "--dest-", "--to-"],
        "plain-http",
        "options for the registry have no prefix: --plain-http, --insecure, -u, --authfile",
    ),
];

/// The options that a row may need and that only tools with network access have.
const NETWORK: [&str; 9] = [
    "authfile",
    "ca-file",
    "from-insecure",
    "max-wait",
    "plain-http",
    "retry-times",
    "timeout",
    "trace",
    "username",
];

/// The hint for an option that the tool does not have, if the option is one of another program.
pub(crate) fn hint(option: &str, tool: &Command) -> Option<&'static str> {
    let has = |long: &str| tool.get_arguments().any(|arg| arg.get_long() == Some(long));
    let is_named =
        |name: &&str| *name == option || (name.ends_with('-') && option.starts_with(*name));
    let rows = || ROWS.iter().filter(|(names, ..)| names.iter().any(is_named));
    if let Some((.., hint)) = rows().find(|(_, needs, _)| needs.is_empty() || has(needs)) {
        return Some(hint);
    }
    let is_offline = !has("plain-http") && rows().any(|(_, needs, _)| NETWORK.contains(needs));
    is_offline.then_some(OFFLINE)
}
