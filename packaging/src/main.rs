// SPDX-License-Identifier: Apache-2.0
//! completions BIN DIR TOOL...: writes the completions for bash, zsh and fish into DIR, in a folder
//! for each shell. BIN is the directory with the tools.
//!
//! | module | holds |
//! |---|---|
//! | `help` | reads the options and operands of a tool from its `--help` |
//! | `command` | turns them into a command of clap, from which clap_complete makes the scripts |
//! | `script` | the script for one shell, with the completion of layouts and their tags |
//!
//! The source is the help text, because the types of a command line are private to the tool. The
//! tools need no code for completions, and a new tool or option needs no change here.

mod command;
mod help;
mod script;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use help::Help;
use script::SHELLS;

fn main() -> Result<()> {
    let mut args = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(bin), Some(dir)) = (args.next(), args.next()) else {
        bail!("usage: completions BIN DIR TOOL...");
    };
    for tool in args {
        let tool = tool.to_str().context("the name of a tool is not UTF-8")?;
        let help = Help::read(&help_of(&bin.join(tool))?).with_context(|| tool.to_owned())?;
        for shell in SHELLS {
            let folder = dir.join(shell.folder());
            let file = folder.join(shell.file(tool));
            fs::create_dir_all(&folder)
                .and_then(|()| fs::write(&file, shell.script(tool, &help)))
                .with_context(|| file.display().to_string())?;
        }
    }
    Ok(())
}

/// The output of `--help`.
fn help_of(program: &Path) -> Result<String> {
    let output = Command::new(program).arg("--help").output();
    let output = output.with_context(|| program.display().to_string())?;
    if !output.status.success() {
        bail!("{} --help: {}", program.display(), output.status);
    }
    Ok(String::from_utf8(output.stdout)?)
}
