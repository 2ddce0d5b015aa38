// SPDX-License-Identifier: Apache-2.0
//! Turns a tool's help text into a command of clap, from which clap_complete makes scripts.

use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Arg, ArgAction, Command, ValueHint};

use crate::help::{Help, Item};

/// Marks the values that can be layouts; `script` then completes them. The regutils have no option
/// for which clap defines this hint.
pub(crate) const STORE: ValueHint = ValueHint::Username;

/// The command with all options and operands. Its texts are leaked, because clap needs static ones.
pub(crate) fn command(tool: &str, help: &Help) -> Command {
    let args = help.items.iter().map(arg);
    Command::new(leaked(tool))
        .about(leaked(&help.about))
        .disable_help_flag(true)
        .disable_version_flag(true)
        .args(args)
}

fn arg(item: &Item) -> Arg {
    let mut arg = Arg::new(leaked(&item.name())).help(leaked(&item.about));
    if let Some(short) = item.short {
        arg = arg.short(short);
    }
    if let Some(long) = &item.long {
        arg = arg.long(leaked(long));
    }
    let Some(value) = &item.value else { return arg.action(ArgAction::SetTrue) };
    // A colon separates the parts of a specification in zsh.
    arg = arg.value_name(leaked(&value.replace(':', "\\:"))).value_hint(hint(item, value));
    if item.is_many && !item.is_option() {
        arg = arg.num_args(0..);
    } else if item.is_many {
        arg = arg.action(ArgAction::Append);
    }
    if item.choices.is_empty() {
        return arg;
    }
    let choices = item
        .choices
        .iter()
        .map(|(name, about)| PossibleValue::new(leaked(name)).help(leaked(about)));
    arg.value_parser(PossibleValuesParser::new(choices))
}

/// The kind of a value, known from its name in the help text.
fn hint(item: &Item, value: &str) -> ValueHint {
    match value {
        _ if item.is_store() => STORE,
        "DIR" => ValueHint::DirPath,
        "FILE" | "PATH" | "LAYER" | "LAYERS" | "LIST" | "LINE|FILE" => ValueHint::FilePath,
        // With an operand without candidates, zsh would not complete options either.
        _ if !item.is_option() => ValueHint::Unknown,
        _ => ValueHint::Other,
    }
}

fn leaked(text: &str) -> &'static str {
    text.to_owned().leak()
}
