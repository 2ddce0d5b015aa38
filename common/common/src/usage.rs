// SPDX-License-Identifier: Apache-2.0
//! The command line: clap's parser with the rules of all tools, and the conversion of clap's errors
//! to ours.
//!
//! If an option that takes one value is given twice, the last one counts, so that an alias of the
//! shell can be overridden. Options that may be repeated collect all values. The short help (`-h`)
//! fits on a screen: it names the network options without describing them.

use std::ffi::OsString;
use std::sync::LazyLock;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, Parser};

use crate::error::Error;
use crate::exit::tool;
use crate::familiar;
use crate::operands::{Operands, swapped_in};
use crate::reference::Location;
use crate::stdio::write_stdout;
use crate::transports;

/// The text of `--version` after the name of the tool.
static VERSION: LazyLock<String> = LazyLock::new(|| version(COMMIT));

/// The commit that was built, as the Makefile gives it. A build script would run again after each
/// commit. This variable is not set during development, so a commit causes no new build.
const COMMIT: Option<&str> = option_env!("REGUTILS_COMMIT");

/// The heading of the options that all tools with network access share.
const NETWORK_HEADING: &str = "Network options";

/// The network options that the short help names, by their IDs.
const NETWORK: [&str; 12] = [
    "plain_http",
    "insecure",
    "ca_file",
    "cert_file",
    "authfile",
    "username",
    "headers",
    "mirrors",
    "timeout",
    "trace",
    "from_plain_http",
    "from_insecure",
];

/// The parsed command line, and its operands for hints. `None` if the user asked for the help or
/// the version, which was then printed already.
pub(crate) fn parse<Cli: Parser>(args: &[OsString]) -> anyhow::Result<Option<(Cli, Operands)>> {
    let command = Cli::command().version(VERSION.as_str());
    let mut command = command.args_override_self(true).mut_args(with_one_help);
    let parsed = command.try_get_matches_from_mut(args).and_then(|matches| {
        let operands = Operands::of(&command, &matches);
        let cli = Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
        Ok((cli, operands))
    });
    match parsed {
        Ok(parsed) => Ok(Some(parsed)),
        Err(error)
            if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) =>
        {
            let is_short =
                error.kind() == ErrorKind::DisplayHelp && !args.iter().any(|arg| arg == "--help");
            let text = if is_short { short_help(command) } else { error.render().to_string() };
            write_stdout(text.as_bytes())?;
            Ok(None)
        }
        Err(error) => Err(usage_error(&error, &command, args).into()),
    }
}

/// The project, its version and the commit.
fn version(commit: Option<&str>) -> String {
    let version = concat!("(regutils) ", env!("CARGO_PKG_VERSION"));
    match commit {
        Some(commit) if !commit.is_empty() => format!("{version} ({commit})"),
        _ => version.to_owned(),
    }
}

/// An option whose help has two paragraphs: the first is the line of `-h`, the rest is the text of
/// `--help`.
fn with_one_help(arg: Arg) -> Arg {
    let long = arg.get_long_help().map(ToString::to_string);
    match long.as_deref().and_then(|text| text.split_once("\n\n")) {
        Some((_, rest)) => arg.long_help(rest.to_owned()),
        None => arg,
    }
}

/// The text of `-h`: a line for each option. Options that are hidden in it are named together.
fn short_help(command: Command) -> String {
    let is_network = |arg: &Arg| arg.get_help_heading() == Some(NETWORK_HEADING);
    let names = |arg: &Arg| match (arg.get_short(), arg.get_long()) {
        (Some(short), _) => format!("-{short}"),
        (None, Some(long)) => format!("--{long}"),
        (None, None) => String::new(),
    };
    let all: Vec<&Arg> = command.get_arguments().collect();
    let rare = all.iter().filter(|arg| arg.is_hide_short_help_set() && !is_network(arg));
    let rare: Vec<String> = rare.map(|arg| names(arg)).collect();
    let shown = NETWORK.iter().filter_map(|id| all.iter().find(|arg| arg.get_id() == id));
    let network: Vec<String> = shown.map(|arg| names(arg)).collect();
    let mut more = Vec::new();
    if !rare.is_empty() {
        more.push(format!("More options, described by --help: {}", rare.join(", ")));
    }
    if !network.is_empty() {
        let network = network.join(", ");
        more.push(format!("Network options, described in regutils-network(7): {network}, …"));
    }
    let mut short = command.after_help(more.join("\n")).mut_args(|arg| {
        let is_hidden = is_network(&arg) || arg.is_hide_short_help_set();
        arg.hide_possible_values(true).hide_short_help(is_hidden)
    });
    short.render_help().to_string()
}

/// clap's error as one line, and a hint.
fn usage_error(error: &clap::Error, command: &Command, args: &[OsString]) -> Error {
    let text = one_line(&error.render().to_string());
    let hint = suggestion(error, command, args).unwrap_or_else(|| format!("see {} --help", tool()));
    Error::usage(text).hint(hint)
}

/// The first paragraph of clap's message, without "error:".
fn one_line(rendered: &str) -> String {
    let paragraph: Vec<&str> = rendered
        .lines()
        .map(str::trim)
        .take_while(|line| !line.is_empty() && !line.starts_with("Usage:"))
        .collect();
    let text = paragraph.join(" ");
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let text = text.replace(" found; no more were expected", ": it takes no value");
    let text = match text.strip_suffix(" found") {
        Some(start) if start.starts_with("unexpected argument ") => start,
        _ => &text,
    };
    without_secret(text)
}

/// A hint for the cause of clap's error: the option or the value that the user probably meant.
fn suggestion(error: &clap::Error, command: &Command, args: &[OsString]) -> Option<String> {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    match error.kind() {
        ErrorKind::UnknownArgument => {
            let option = context(ContextKind::InvalidArg)?;
            if !option.starts_with('-') {
                return surplus(option, command);
            }
            if let Some(hint) = familiar::hint(option, command) {
                return Some(hint.to_owned());
            }
            context(ContextKind::SuggestedArg).map(|ours| format!("did you mean {ours}"))
        }
        ErrorKind::InvalidValue => {
            context(ContextKind::SuggestedValue).map(|ours| format!("did you mean {ours}"))
        }
        ErrorKind::ValueValidation => {
            let value = context(ContextKind::InvalidValue)?;
            let argument = context(ContextKind::InvalidArg)?;
            // The value of an option does not depend on the order of the operands.
            let swapped = if argument.starts_with('-') { None } else { swapped_in(args, value) };
            swapped.or_else(|| transports::hint(value, argument))
        }
        _ => None,
    }
}

/// The hint if there is one operand too many. For skopeo and crane, such an operand is the
/// destination.
fn surplus(operand: &str, command: &Command) -> Option<String> {
    let has_into = command.get_arguments().any(|arg| arg.get_long() == Some("into"));
    let is_layout = matches!(operand.parse(), Ok(Location::Layout(_)));
    (has_into && is_layout).then(|| format!("--into {operand}"))
}

/// Hides a password in a value that clap refused: the value may be a URL with `USER:PASSWORD@`. The
/// text before the first `@` is replaced if it contains a colon, unless it is `oci:DIR` or the `@`
/// begins a digest. The reason is not shown if it repeats a part of the hidden text.
fn without_secret(text: &str) -> String {
    const BEFORE: &str = "invalid value '";
    let Some((start, rest)) = text.split_once(BEFORE) else { return text.to_owned() };
    let Some((value, after)) = rest.split_once("' for ") else { return text.to_owned() };
    if value.starts_with("oci:") && !value.starts_with("oci://") {
        return text.to_owned();
    }
    match value.split_once('@') {
        Some((user, host)) if user.contains(':') && !host.starts_with("sha") => {
            let explained = after.rsplit_once(": ").map_or(after, |(_, why)| why);
            let mut quoted = explained.split(['"', '(', ')']).skip(1).step_by(2);
            let may_show = !explained.contains('@') && !quoted.any(|q| user.contains(q));
            let shown = if may_show { explained } else { "not a reference" };
            format!("{start}{BEFORE}[secret]@{host}': {shown}")
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_an_operand_is_not_shown() {
        let said = without_secret(
            "invalid value 'http://u:SECRET@h/x' for '<REF>': a reference is not a URL",
        );
        assert_eq!(said, "invalid value '[secret]@h/x': a reference is not a URL");
        let said =
            without_secret("invalid value 'u:SECRET@h/x' for '<REF>': \"h/x\" is not a digest");
        assert!(!said.contains("SECRET"), "{said}");
    }

    #[test]
    fn the_version_has_a_commit_only_if_the_build_was_given_one() {
        assert!(version(Some("abc1234")).ends_with(" (abc1234)"));
        for unknown in [None, Some("")] {
            assert!(version(unknown).ends_with(env!("CARGO_PKG_VERSION")), "{unknown:?}");
        }
    }

    #[test]
    fn clap_errors_become_one_line() {
        let rendered = "error: the following required arguments were not provided:\n  <REF>\n\nUsage: x <REF>\n\nFor more information, try '--help'.\n";
        assert_eq!(one_line(rendered), "the following required arguments were not provided: <REF>");
    }
}
