// SPDX-License-Identifier: Apache-2.0
//! The completions of bash, zsh and fish, in these shells.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use tests::scratch::Scratch;
use tests::tools::{bin, shell, tool};

/// The names of all tools, which are the names of their folders.
fn tools() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools");
    let folders = fs::read_dir(folder).unwrap().map(Result::unwrap);
    folders.map(|folder| folder.file_name().into_string().unwrap()).collect()
}

/// A directory with the completions of all tools in `shells`.
fn completions() -> Scratch {
    let dir = Scratch::new();
    // Builds all tools.
    shell("true").run().ok();
    tool("completions").arg(bin()).arg(dir.join("shells")).args(tools()).run().ok();
    dir
}

#[test]
fn each_option_of_each_tool_is_in_the_scripts_of_all_shells() {
    let dir = completions();
    for name in tools() {
        let help = String::from_utf8(tool(&name).arg("--help").run().ok().stdout.clone()).unwrap();
        let options: Vec<&str> = help
            .lines()
            .filter(|line| {
                line.trim_start().starts_with('-') && line.len() - line.trim_start().len() < 10
            })
            .filter_map(|line| line.split([' ', ',']).find_map(|word| word.strip_prefix("--")))
            .collect();
        assert!(options.len() > 2, "{name}: {options:?}");
        let scripts = [format!("bash/{name}"), format!("zsh/_{name}"), format!("fish/{name}.fish")];
        for script in scripts {
            let text = fs::read_to_string(dir.join("shells").join(&script)).unwrap();
            let is_there = |option: &str| {
                [
                    format!(" --{option} "),
                    format!(" --{option}\""),
                    format!("'--{option}["),
                    format!("*--{option}="),
                    format!("'--{option}="),
                    format!(" -l {option} "),
                ]
                .iter()
                .any(|form| text.contains(form))
            };
            for option in &options {
                assert!(is_there(option), "{script}: --{option}");
            }
        }
    }
}

#[test]
fn a_program_without_a_help_text_is_an_error() {
    let dir = Scratch::new();
    tool("completions").args(["/bin", "out", "true"]).dir(dir.path()).run().status(1);
}

/// Completion in the shells themselves.
mod with_peers {
    use super::*;
    use tests::images::{Image, write_image};

    /// Completions, and a layout with two tags in a directory beside another directory.
    fn completions_and_layout() -> Scratch {
        let dir = completions();
        fs::create_dir_all(dir.join("work/images/plain")).unwrap();
        write_image(&dir.join("work/images/app"), "1.0", &Image::small());
        write_image(
            &dir.join("work/images/app"),
            "$(touch bad)",
            &Image::for_platform("linux", "arm"),
        );
        dir
    }

    /// The arguments that the shell passes to a tool if these keys are typed. The shell is
    /// interactive, and has a terminal. Slashes at the end are left out, because zsh removes them
    /// at the end of the line.
    fn typed(shell_line: &str, dir: &Scratch, keys: &str) -> Vec<String> {
        let out = dir.join("out");
        let _ = fs::remove_file(&out);
        let run = shell(&format!("exec script -qec '{shell_line}' /dev/null"))
            .env("TERM", "dumb")
            .env("ZDOTDIR", dir.path())
            .env("OUT", &out)
            .env("SHELLS", dir.join("shells"))
            .dir(dir.join("work"))
            .stdin(format!("{keys}\nexit\n"))
            .run();
        assert!(out.exists(), "no command was run: {run}");
        let text = fs::read_to_string(&out).unwrap();
        text.lines().map(|word| word.trim_end_matches('/').to_owned()).collect()
    }

    /// [`typed`] in bash. The functions with the names of tools write their arguments to a file.
    fn typed_in_bash(dir: &Scratch, keys: &str) -> Vec<String> {
        dir.write(
            "bashrc",
            "for file in \"$SHELLS\"/bash/*; do . \"$file\"; done
             fetch-manifest() { printf '%s\\n' \"$@\" >\"$OUT\"; }
             fetch-blob() { fetch-manifest \"$@\"; }
             list-blobs() { fetch-manifest \"$@\"; }
             bind 'set bell-style none'\n",
        );
        typed(&format!("bash --noprofile --rcfile {} -i", dir.join("bashrc").display()), dir, keys)
    }

    /// [`typed`] in zsh.
    fn typed_in_zsh(dir: &Scratch, keys: &str) -> Vec<String> {
        dir.write(
            ".zshrc",
            "fpath=(\"$SHELLS/zsh\" $fpath)
             autoload -U compinit && compinit -u -D
             unsetopt beep
             fetch-manifest() { print -rl -- \"$@\" >\"$OUT\" }
             fetch-blob() { fetch-manifest \"$@\" }
             list-blobs() { fetch-manifest \"$@\" }\n",
        );
        typed("zsh -d -i", dir, keys)
    }

    /// The candidates of fish for an unfinished command line.
    fn fish(dir: &Scratch, line: &str) -> Vec<String> {
        let script =
            "for file in \"$SHELLS\"/fish/*.fish; do set -- \"$@\" -C \"source $file\"; done
            exec fish --no-config \"$@\" -c 'complete -C \"$LINE\"'";
        let run = shell(script)
            .env("HOME", dir.path())
            .env("SHELLS", dir.join("shells"))
            .env("LINE", line)
            .dir(dir.join("work"))
            .run();
        let lines = run.ok().lines();
        lines.iter().map(|line| line.split('\t').next().unwrap().to_owned()).collect()
    }

    #[test]
    fn bash_and_zsh_complete_options_and_their_values() {
        let dir = completions_and_layout();
        for typed in [typed_in_bash, typed_in_zsh] {
            assert_eq!(typed(&dir, "fetch-blob a --rech\t"), ["a", "--recheck"]);
            assert_eq!(typed(&dir, "fetch-blob a --progress js\t"), ["a", "--progress", "json"]);
            assert_eq!(typed(&dir, "fetch-blob a --output im\t"), ["a", "--output", "images"]);
        }
    }

    #[test]
    fn bash_and_zsh_complete_layouts_and_their_tags() {
        let dir = completions_and_layout();
        for typed in [typed_in_bash, typed_in_zsh] {
            assert_eq!(typed(&dir, "fetch-manifest oc\timages/app:1\t"), ["oci:images/app:1.0"]);
            assert_eq!(typed(&dir, "fetch-manifest oci:im\tapp:1\t"), ["oci:images/app:1.0"]);
            assert_eq!(
                typed(&dir, "fetch-blob a --into oci:images/a\t"),
                ["a", "--into", "oci:images/app"]
            );
            assert_eq!(
                typed(&dir, "fetch-blob a --into=oci:images/a\t"),
                ["a", "--into=oci:images/app"]
            );
        }
    }

    /// Other people may choose the names in a layout, so the shell must not run commands in them.
    #[test]
    fn a_tag_with_shell_characters_is_quoted() {
        let dir = completions_and_layout();
        for typed in [typed_in_bash, typed_in_zsh] {
            let want = ["oci:images/app:$(touch bad)"];
            assert_eq!(typed(&dir, "fetch-manifest oci:images/app:\\$\t"), want);
            assert!(!dir.join("work/bad").exists());
        }
    }

    #[test]
    fn fish_completes_options_layouts_and_tags() {
        let dir = completions_and_layout();
        assert_eq!(fish(&dir, "fetch-blob a --rech"), ["--recheck"]);
        assert_eq!(fish(&dir, "fetch-blob a --progress j"), ["json"]);
        assert_eq!(
            fish(&dir, "fetch-manifest oci:images/"),
            ["oci:images/app", "oci:images/app:", "oci:images/plain/"]
        );
        assert_eq!(fish(&dir, "fetch-manifest oci:images/app:1"), ["oci:images/app:1.0"]);
        assert_eq!(fish(&dir, "fetch-blob a --into oc"), ["oci:"]);
        assert_eq!(
            fish(&dir, "fetch-blob a --into oci:images/a"),
            ["oci:images/app", "oci:images/app:"]
        );
        assert!(!dir.join("work/bad").exists());
    }
}
