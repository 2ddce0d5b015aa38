// SPDX-License-Identifier: Apache-2.0
//! The options and operands of a tool, read from its `--help`.

use anyhow::{Context, Result, bail};

/// A tool, as its help text describes it.
#[derive(Debug, Default)]
pub(crate) struct Help {
    /// The first line: what the tool does.
    pub(crate) about: String,
    /// The options and operands, in the order of the help text.
    pub(crate) items: Vec<Item>,
}

/// An option or an operand.
#[derive(Debug, Default)]
pub(crate) struct Item {
    /// The letter of an option that has one.
    pub(crate) short: Option<char>,
    /// The long name of an option, without dashes, if it has one.
    pub(crate) long: Option<String>,
    /// The name of the value, without brackets. Every operand has one.
    pub(crate) value: Option<String>,
    /// Whether it can be given more than once.
    pub(crate) is_many: bool,
    /// The first paragraph of the description.
    pub(crate) about: String,
    /// The possible values, with their descriptions. Empty if the help text has no such list.
    pub(crate) choices: Vec<(String, String)>,
}

/// The indentation of descriptions. Lines with options and operands have a smaller indentation.
const DESCRIPTION: usize = 10;

impl Help {
    /// Reads a help text.
    ///
    /// # Errors
    /// If the text has no options, or if a line in a list of options is malformed.
    pub(crate) fn read(text: &str) -> Result<Help> {
        let about = text.lines().next().unwrap_or_default().trim_end_matches('.').to_owned();
        let mut help = Help { about, ..Help::default() };
        // A paragraph is a heading with its first option, another option, or more text about the
        // previous option.
        let mut is_list = false;
        for paragraph in text.split("\n\n") {
            let mut lines = paragraph.lines().filter(|line| !line.trim().is_empty()).peekable();
            if let Some(heading) = lines.next_if(|line| !line.starts_with(' ')) {
                is_list = heading.ends_with(':');
            }
            if !is_list {
                continue;
            }
            if let Some(line) = lines.next_if(|line| indentation(line) < DESCRIPTION) {
                let item = Item::read(line.trim());
                help.items.push(item.with_context(|| format!("not understood: {line}"))?);
            }
            if let Some(item) = help.items.last_mut() {
                lines.for_each(|line| item.describe(line.trim()));
            }
        }
        if help.items.iter().all(|item| !item.is_option()) {
            bail!("no options in the help text");
        }
        Ok(help)
    }
}

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

impl Item {
    /// Reads the line that begins an option or operand: `-o, --output <FILE>` or `[FILE]...`.
    fn read(line: &str) -> Option<Item> {
        let mut item = Item::default();
        let mut rest = line;
        if let Some(value) = line.find(['<', '[']) {
            let end = line.rfind(['>', ']'])?;
            item.value = Some(line.get(value + 1..end)?.to_owned());
            item.is_many = line.ends_with("...");
            rest = &line[..value];
        }
        for name in rest.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            match name.strip_prefix("--") {
                Some(long) => item.long = Some(long.to_owned()),
                None => item.short = Some(name.strip_prefix('-')?.chars().next()?),
            }
        }
        (item.is_option() || item.value.is_some()).then_some(item)
    }

    /// Whether it is an option, not an operand.
    pub(crate) fn is_option(&self) -> bool {
        self.short.is_some() || self.long.is_some()
    }

    /// Whether its value can be a layout.
    pub(crate) fn is_store(&self) -> bool {
        let value = self.value.as_deref().unwrap_or_default();
        match value {
            "STORE" | "REF" => true,
            // Some tools accept only repositories in registries.
            "REPO" => self.about.contains("layout"),
            _ => value.starts_with("oci:"),
        }
    }

    /// The name of the option, or of the operand in the help text.
    pub(crate) fn name(&self) -> String {
        let short = self.short.map(String::from);
        self.long.clone().or(short).or_else(|| self.value.clone()).unwrap_or_default()
    }

    /// Adds a line of the description.
    fn describe(&mut self, line: &str) {
        if let Some(choice) = line.strip_prefix("- ") {
            let (name, about) = choice.split_once(':').unwrap_or((choice, ""));
            self.choices.push((name.to_owned(), about.trim().to_owned()));
        } else if !matches!(line, "Possible values:") && !line.starts_with("[default:") {
            self.is_many |= line.contains("(repeatable)");
            let space = if self.about.is_empty() { "" } else { " " };
            self.about = format!("{}{space}{line}", self.about);
        }
    }
}

#[cfg(test)]
mod tests {
    // Clippy's exemption for tests covers test functions only, not the helpers they share.
    #![allow(clippy::unwrap_used)]

    use super::*;

    const TEXT: &str = "Do things.\n\nLong: text.\n\nUsage: x [OPTIONS] <REF>\n\nArguments:\n  <REF>\n          \
        The image\n\n  [FILE]...\n          Files, or\n          more\n\nOptions:\n  -j, --jobs <N>\n          \
        Connections (repeatable)\n          \n          [default: 4]\n\n      --how <HOW>\n          How\n\n          \
        Possible values:\n          - a: First\n          - b\n\nMore options:\n  -H <NAME: VALUE>\n          \
        A header\n";

    fn item(at: usize) -> Item {
        Help::read(TEXT).unwrap().items.swap_remove(at)
    }

    #[test]
    fn operands_and_options_are_read_from_all_lists() {
        let help = Help::read(TEXT).unwrap();
        assert_eq!((help.about.as_str(), help.items.len()), ("Do things", 5));
        assert_eq!(item(0).value.unwrap(), "REF");
        assert_eq!((item(1).about.as_str(), item(1).is_many), ("Files, or more", true));
        assert_eq!((item(2).short, item(2).long.as_deref()), (Some('j'), Some("jobs")));
        assert!(item(2).is_many && item(2).about == "Connections (repeatable)");
        assert_eq!((item(4).short, item(4).long), (Some('H'), None));
        assert_eq!(item(4).value.unwrap(), "NAME: VALUE");
    }

    #[test]
    fn possible_values_are_no_part_of_the_description() {
        let item = item(3);
        assert_eq!(item.about, "How");
        let choices = [("a".to_owned(), "First".to_owned()), ("b".to_owned(), String::new())];
        assert_eq!(item.choices, choices);
    }

    #[test]
    fn a_line_of_another_form_is_an_error() {
        assert!(Help::read("X\n\nOptions:\n  quiet\n").is_err());
        assert!(Help::read("X\n").is_err());
    }
}
