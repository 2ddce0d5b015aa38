// SPDX-License-Identifier: Apache-2.0
//! The script of one tool for one shell.

use clap_complete::{Generator, generate};

use crate::command::command;
use crate::help::{Help, Item};

/// All shells.
pub(crate) const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

/// A shell.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Shell {
    /// The folder of its scripts.
    pub(crate) fn folder(self) -> &'static str {
        match self {
            Shell::Bash => "bash",
            Shell::Zsh => "zsh",
            Shell::Fish => "fish",
        }
    }

    /// The name of a tool's script, by which the shell finds it.
    pub(crate) fn file(self, tool: &str) -> String {
        match self {
            Shell::Bash => tool.to_owned(),
            Shell::Zsh => format!("_{tool}"),
            Shell::Fish => format!("{tool}.fish"),
        }
    }

    /// The script.
    pub(crate) fn script(self, tool: &str, help: &Help) -> String {
        let has_stores = help.items.iter().any(Item::is_store);
        match self {
            Shell::Bash => {
                let script = generated(clap_complete::Shell::Bash, tool, help);
                if has_stores { script + &layouts_for_bash(tool, help) } else { script }
            }
            Shell::Zsh => {
                let script = generated(clap_complete::Shell::Zsh, tool, help);
                let script = script.replace(":_users'", ":_regutils_store'");
                // With "*::", zsh would complete no options after the first operand.
                let script = script.replace("'*::", "'*:");
                // The functions are defined before the last lines call one of them.
                let (first, rest) = script.split_once("\n\n").unwrap_or((&script, ""));
                let own = if has_stores { include_str!("../shells/layouts.zsh") } else { "" };
                format!("{first}\n{own}\n{rest}")
            }
            Shell::Fish => {
                let script = generated(clap_complete::Shell::Fish, tool, help);
                let script = script.replace("(__fish_complete_users)", "(__regutils_store)");
                let own = if has_stores { include_str!("../shells/layouts.fish") } else { "" };
                format!("{script}{}{own}", operands_for_fish(tool, help))
            }
        }
    }
}

/// The script that clap_complete makes.
fn generated(shell: impl Generator, tool: &str, help: &Help) -> String {
    let mut script = Vec::new();
    generate(shell, &mut command(tool, help), tool, &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// The function that completes layouts. For all other words, it calls the generated function.
fn layouts_for_bash(tool: &str, help: &Help) -> String {
    let mut stores = Vec::new();
    for item in help.items.iter().filter(|item| item.is_store()) {
        match &item.long {
            Some(long) => stores.push(format!("--{long}")),
            // An operand: the first one, after the name of the tool.
            None => stores.push(tool.to_owned()),
        }
    }
    include_str!("../shells/layouts.bash")
        .replace("STORES", &stores.join(" "))
        .replace("GENERATED", &tool.replace('-', "__"))
        .replace("TOOL", tool)
}

/// The operands for fish, which clap_complete omits. A word is a file or a layout, never both.
fn operands_for_fish(tool: &str, help: &Help) -> String {
    if !help.items.iter().any(|item| !item.is_option() && item.is_store()) {
        return String::new();
    }
    let at_layout = "string match -q 'oci:*' -- (commandline -ct)";
    format!(
        "complete -c {tool} -n \"not {at_layout}\" -a oci:\n\
         complete -c {tool} -n \"{at_layout}\" -f -a '(__regutils_store)'\n"
    )
}
