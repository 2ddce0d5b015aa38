// SPDX-License-Identifier: Apache-2.0
//! The examples of the README and of the manual, run unchanged.
//!
//! The examples' `alpine` is a repository of the scripted registry here. That word is replaced in
//! the operands that name the registry, but not in those that name a layout.

// Clippy's exemption for tests covers test functions only, not the helpers they share.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tests::fake_registry::FakeRegistry;
use tests::images::{Blob, Image, file, index, sha256, types};
use tests::schema1;
use tests::scratch::Scratch;
use tests::tools::{Run, shell};

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

pub(crate) fn read(name: &str) -> String {
    fs::read_to_string(top().join(name)).unwrap()
}

/// A registry with an image for two platforms as `alpine:3.20` and `alpine:latest`.
fn registry() -> FakeRegistry {
    let registry = FakeRegistry::start();
    let amd64 = Image::new(&[&[file("etc-release", "3.20\n")], &[file("second", "x\n")]]);
    let arm64 = Image::for_platform("linux", "arm64");
    let children = [(&amd64.manifest, "linux/amd64"), (&arm64.manifest, "linux/arm64")];
    let top = index(types::INDEX, &children);
    for image in [&amd64, &arm64] {
        registry.add_image("alpine", "child", image);
    }
    for tag in ["3.20", "latest"] {
        registry.add_manifest("alpine", tag, &top);
    }
    // An old image with a manifest of schema 1.
    let [base, layer] = [&amd64.layers[0].digest, &amd64.layers[1].digest];
    let entry = |id: &str, parent: &str| {
        format!(r#"{{"id":"{id}","parent":"{parent}","os":"linux","architecture":"amd64"}}"#)
    };
    let [id_of_base, id_of_layer] = ['a', 'b'].map(schema1::id);
    let entries = [entry(&id_of_layer, &id_of_base), entry(&id_of_base, "")];
    let old = schema1::signed(&schema1::document(&[layer, base], &entries));
    registry.add_manifest("old", "1", &Blob::new(types::DOCKER_SCHEMA1, old));
    for layer in &amd64.layers {
        registry.add_blob("old", layer.bytes.clone());
    }
    registry
}

/// Runs an example. Names at `alpine` and at `registry.example` are replaced by names in the
/// registry; `secure.example` is replaced by a registry that requires tokens.
pub(crate) fn run(example: &str, registry: &FakeRegistry, dir: &Scratch) -> Run {
    run_after("", example, registry, dir)
}

/// Like [`run`], with a line before the example in which no word is replaced.
fn run_after(first: &str, example: &str, registry: &FakeRegistry, dir: &Scratch) -> Run {
    let words = example.split_inclusive([' ', '\n', ')', '"']).map(|word| {
        if let Some(rest) = word.strip_prefix("registry.example/") {
            return registry.repo(rest);
        }
        if let Some(rest) = word.strip_prefix("registry.example") {
            return format!("{}{rest}", registry.host());
        }
        match word.trim_end_matches([' ', '\n', ')', '"']).split(':').next() {
            Some("alpine") => registry.repo(word),
            _ => word.to_owned(),
        }
    });
    let script = format!("{first}{}", words.collect::<String>());
    if !script.contains("secure.example") {
        return shell(&script).dir(dir.path()).run();
    }
    let secure = FakeRegistry::with_tokens();
    secure.add_image("alpine", "3.20", &Image::small());
    let script = script.replace("https://secure", "http://secure");
    shell(&script.replace("secure.example", &secure.host())).dir(dir.path()).run()
}

/// The blocks of a Markdown text in this language.
pub(crate) fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    text.split(&format!("```{language}\n"))
        .skip(1)
        .map(|rest| rest.split_once("```").unwrap().0)
        .collect()
}

/// The commands of a manual page's EXAMPLES section that are run here: the text after each `$`,
/// with its continuation lines.
pub(crate) fn examples(page: &str) -> Vec<String> {
    let (_, section) = page.split_once(".Sh EXAMPLES\n").unwrap();
    let section = section.split(".Sh ").next().unwrap();
    let mut examples: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in section.lines() {
        let line = line.strip_prefix(".Dl ").unwrap_or(line).replace("\\e", "\\");
        if let Some(command) = line.strip_prefix("$ ") {
            examples.push(format!("{command}\n"));
        } else if let (true, Some(last)) = (goes_on && !line.starts_with('.'), examples.last_mut())
        {
            last.push_str(&format!("{line}\n"));
        }
        let open = ["|", "\\", "; do", "&&"].iter().any(|end| line.ends_with(end));
        goes_on = (open || line.starts_with("    ")) && (goes_on || line.starts_with("$ "));
    }
    examples
}

#[test]
fn the_pipelines_of_the_readme_work_unchanged() {
    let registry = registry();
    let dir = Scratch::new();
    let readme = read("README.md");
    // `many_machines` runs the loop.
    let [_try, unpack, build, copy, _loop] = blocks(&readme, "sh")[..] else {
        panic!("the README has three commands, three pipelines and a loop")
    };
    let lines = run(unpack, &registry, &dir);
    assert_eq!(lines.status(0).lines().len(), 3);
    assert_eq!(fs::read_to_string(dir.join("rootfs/etc-release")).unwrap(), "3.20\n");

    fs::create_dir(dir.join("app")).unwrap();
    fs::write(dir.join("app/hello"), "mine\n").unwrap();
    assert_eq!(run(build, &registry, &dir).ok().lines().len(), 1);
    let back = "fetch-manifest registry.example/app:1 | list-blobs --layers | tail -n 1 |
        fetch-blob registry.example/app | tar -xzOf - hello\n";
    run(back, &registry, &dir).ok().stdout("mine\n");
    // The image does not depend on the user and the time: the new layer has one entry, owned by
    // root.
    let entries = "fetch-manifest registry.example/app:1 | list-blobs --layers | tail -n 1 |
        list-layer --from registry.example/app --json\n";
    let entries = run(entries, &registry, &dir);
    let entry: serde_json::Value = serde_json::from_slice(&entries.ok().stdout).unwrap();
    assert_eq!((&entry["name"], &entry["uid"]), (&"hello".into(), &0.into()), "{entry}");
    let digest = "fetch-manifest --digest registry.example/app:1\n";
    let first = run(digest, &registry, &dir).ok().stdout.clone();
    fs::remove_file(dir.join("app/hello")).unwrap();
    fs::write(dir.join("app/hello"), "mine\n").unwrap();
    run(build, &registry, &dir).status(0);
    run(digest, &registry, &dir).ok().stdout(first);
    let config = "fetch-manifest registry.example/app:1 | list-blobs --config |
        fetch-blob registry.example/app\n";
    let config = run(config, &registry, &dir);
    let config: serde_json::Value = serde_json::from_slice(&config.ok().stdout).unwrap();
    assert_eq!(config["config"]["Entrypoint"], serde_json::json!(["/bin/hello"]));
    assert_eq!(config["created"], "2026-01-01T00:00:00Z");

    assert_eq!(run(copy, &registry, &dir).ok().lines().len(), 1);
    run("fetch-manifest registry.example/alpine:3.20 | cmp - all.json\n", &registry, &dir).ok();
    // Repeating the first pipeline fails only because the directory exists.
    run(unpack, &registry, &dir).status(7);
}

#[test]
fn the_first_commands_of_the_readme_print_an_image_and_store_nothing() {
    let registry = FakeRegistry::start();
    let image = Image::new(&[&[file("etc/alpine-release", "3.20.3\n")]]);
    let children = [(&image.manifest, "linux/amd64")];
    registry.add_image("alpine", "", &image);
    registry.add_manifest("alpine", "3.20", &index(types::INDEX, &children));
    let dir = Scratch::new();
    let readme = read("README.md");
    let commands: Vec<_> = blocks(&readme, "sh")[0].lines().collect();
    assert_eq!(commands.len(), 3);
    for (command, want) in commands.iter().zip(["sha256:", " etc/alpine-release\n", "3.20.3\n"]) {
        let run = run(&format!("{command}\n"), &registry, &dir);
        run.status(0);
        assert!(String::from_utf8_lossy(&run.stdout).contains(want), "{run}");
    }
    assert_eq!(dir.list(), Vec::<String>::new());
}

#[test]
fn the_readme_shows_pictures_and_links_files_that_exist() {
    let readme = read("README.md");
    let links: Vec<_> =
        readme.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    assert!(links.contains(&"man/flow.svg"), "{links:?}");
    for link in links {
        assert!(top().join(link).is_file(), "{link}");
    }
    let picture = read("man/flow.svg");
    for tool in ["fetch-manifest", "list-blobs", "fetch-blob", "unpack-layer"] {
        assert!(picture.contains(&format!(">{tool}</text>")), "{tool} is not in the picture");
    }
}

#[test]
fn the_readme_and_the_manual_name_every_tool() {
    let readme = read("README.md");
    let manual = read("man/regutils.7");
    for entry in fs::read_dir(top().join("tools")).unwrap() {
        let tool = entry.unwrap().file_name().into_string().unwrap();
        assert!(readme.contains(&format!("| `{tool}` |")), "{tool} is not in the README's table");
        assert!(manual.contains(&format!(".It Xr {tool} 1 Ta ")), "{tool} is not in regutils.7");
        assert!(top().join(format!("man/{tool}.1")).is_file(), "{tool} has no page");
    }
}

#[test]
fn every_page_lists_its_exit_statuses_in_order() {
    let statuses = |text: &str| -> Vec<u8> {
        let (_, section) = text.split_once(".Sh EXIT STATUS\n").unwrap();
        let section = section.split("\n.Sh ").next().unwrap();
        section.lines().filter_map(|line| line.strip_prefix(".It ")?.parse().ok()).collect()
    };
    assert_eq!(statuses(&read("man/regutils.7")), (0..=8).collect::<Vec<_>>());
    for page in pages() {
        let listed = statuses(&fs::read_to_string(&page).unwrap());
        assert!(listed.is_sorted_by(|a, b| a < b), "{}", page.display());
        // Every tool has these exit statuses.
        assert!([0, 2, 7].iter().all(|status| listed.contains(status)), "{}", page.display());
    }
}

#[test]
fn the_examples_of_the_manual_pages_work_unchanged() {
    let registry = registry();
    // Commands that create the files which a page's examples need, by page.
    let mut prepared: BTreeMap<&str, &[&str]> = BTreeMap::new();
    prepared.insert("verify-digest", &["mkdir docs && echo a >docs/a && tar -cf a.tar docs"]);
    prepared.insert("detect-mediatype", &["tar -cf layer /dev/null"]);
    prepared.insert("push-blob", &["mkdir docs && echo a >docs/a"]);
    prepared.insert("list-blobs", &["fetch-manifest oci:image:3.20 >base.json"]);
    prepared.insert("put-manifest", &["echo x >notes.txt"]);
    prepared.insert("pack-layer", &["mkdir rootfs && echo 1 >rootfs/version"]);
    prepared
        .insert("build-index", &["mkdir amd64 arm64 && echo x >amd64/file && echo y >arm64/file"]);
    for name in ["build-config", "build-manifest"] {
        prepared.insert(name, &["echo x >file && tar -czf app.tar.gz file && echo x >notes.txt"]);
    }
    let common = ["regutils.7", "regutils-network.7", "regutils-layout.5", "regutils-recipes.7"];
    let common = common.map(|page| top().join("man").join(page));
    let sourced = format!(". '{}'\n", top().join("share/regutils/recipes.sh").display());
    for page in pages().into_iter().chain(common) {
        let name = page.file_stem().unwrap().to_str().unwrap();
        let dir = Scratch::new();
        let fill = "fetch-manifest -p linux/amd64 alpine:3.20 --into oci:image |
            list-blobs | fetch-blob alpine --into oci:image >/dev/null\n";
        run(fill, &registry, &dir).status(0);
        for command in prepared.get(name).copied().unwrap_or_default() {
            run(command, &registry, &dir).status(0);
        }
        let examples = examples(&fs::read_to_string(&page).unwrap());
        for example in examples {
            let functions = if name == "regutils-recipes" { &sourced } else { "" };
            let run = run_after(functions, &example, &registry, &dir);
            assert_eq!(run.code(), Some(0), "page {name}: {example}{run}");
        }
    }
}

/// The manual pages of the tools.
fn pages() -> Vec<PathBuf> {
    let entries = fs::read_dir(top().join("man")).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|ext| ext == "1")).collect()
}

#[test]
fn the_licence_is_the_apache_licence() {
    // The digest of the licence text that Debian and the Apache Software Foundation publish.
    let want = "sha256:cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30";
    assert_eq!(sha256(read("LICENSE").as_bytes()), want);
}
