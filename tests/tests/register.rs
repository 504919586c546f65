//! The property register is whole: every id has code that upholds it and checks that judge it, and
//! nothing names an id that is not registered.
//!
//! What it does not do: read whether the code at a site upholds the property. The checks do.

use cloakroom_tests::Repository;
use cloakroom_tests::register::Register;

/// Where a file that names a property must be a site of it.
const UPHOLDING: [&str; 10] = [
    "impl/pool/src",
    "impl/register/src",
    "impl/shards/src",
    "impl/wire/src",
    "impl/kademlia/src",
    "impl/node/src",
    "impl/server/src",
    "impl/rest/src",
    "impl/client/src",
    // Of the command, what judges tags; the replay names what it judges.
    "impl/cli/src/commands/recovery.rs",
];

fn register(repository: &Repository) -> Register {
    Register::parse(&repository.read("specs/README.md")).unwrap_or_else(|error| panic!("{error}"))
}

fn assert_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// Every property has a code site and a check, and each site names it.
fn sites(repository: &Repository, register: &Register) -> Vec<String> {
    let mut complaints = Vec::new();
    for property in &register.properties {
        let id = &property.id;
        if property.sentence.is_empty() {
            complaints.push(format!("{id}: expected a sentence, got none"));
        }
        if property.upheld_at.is_empty() {
            complaints.push(format!("{id}: expected a file under `upheld at`, got none"));
        }
        if property.checked_by.is_empty() {
            complaints.push(format!("{id}: expected a name under `checked by`, got none"));
        }
        for site in &property.upheld_at {
            if !repository.root().join(site).is_file() {
                complaints.push(format!("{id}: its site {site} is no file"));
            } else if !mentions(register, &repository.read(site), id) {
                complaints.push(format!("{id}: its site {site} does not name it"));
            }
        }
    }
    complaints
}

fn mentions(register: &Register, text: &str, id: &str) -> bool {
    register.mentions(text).iter().any(|&(_, mention)| mention == id)
}

/// Code names only properties that are registered; code that upholds, only as a site.
fn strangers(repository: &Repository, register: &Register) -> Vec<String> {
    let mut complaints = Vec::new();
    for ending in [".rs", ".patch", ".smt2", ".pml"] {
        for source in repository.sources("", ending) {
            for (line, id) in register.mentions(&source.text) {
                let path = &source.path;
                match register.properties.iter().find(|property| property.id == id) {
                    None => complaints.push(format!("{path}:{line}: {id} is not registered")),
                    Some(property)
                        if UPHOLDING.iter().any(|folder| path.starts_with(folder))
                            && !property.upheld_at.contains(path) =>
                    {
                        complaints.push(format!(
                            "{path}:{line}: names {id}, whose `upheld at` lacks this file"
                        ));
                    }
                    Some(_) => {}
                }
            }
        }
    }
    complaints
}

/// Every check that is named is explained, every check that is explained is named, and its name
/// stands where the table says: as a file's or folder's name, or as a word in a file there.
fn checks(repository: &Repository, register: &Register) -> Vec<String> {
    let mut complaints = Vec::new();
    for property in &register.properties {
        for name in &property.checked_by {
            if !register.checks.iter().any(|check| check.name == *name) {
                complaints.push(format!("{}: check `{name}` is not in its table", property.id));
            }
        }
    }
    for check in &register.checks {
        let name = &check.name;
        if !register.properties.iter().any(|property| property.checked_by.contains(name)) {
            complaints.push(format!("check `{name}`: no property is checked by it"));
        }
        if check.places.is_empty() {
            complaints.push(format!("check `{name}`: expected a path under `where`, got none"));
        }
        for place in &check.places {
            if !stands_at(repository, name, place) {
                complaints.push(format!("check `{name}`: nothing of that name at {place}"));
            }
        }
    }
    complaints
}

fn stands_at(repository: &Repository, name: &str, place: &str) -> bool {
    let path = repository.root().join(place);
    if !path.exists() {
        return false;
    }
    if path.file_stem().is_some_and(|stem| stem == name) {
        return true;
    }
    let has_word = |text: &str| {
        text.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
            .any(|word| word == name)
    };
    if path.is_file() {
        return has_word(&repository.read(place));
    }
    repository
        .sources(place.trim_end_matches('/'), ".rs")
        .iter()
        .any(|source| source.path.ends_with(&format!("/{name}.rs")) || has_word(&source.text))
}

/// Every property has a mutant that breaks it.
fn mutants(repository: &Repository, register: &Register) -> Vec<String> {
    let patches = repository.sources("tests/mutants", ".patch");
    let mut complaints = Vec::new();
    for property in &register.properties {
        let line = format!("Property: {}", property.id);
        if !patches.iter().any(|patch| patch.text.lines().any(|text| text == line)) {
            complaints.push(format!("{}: no patch in tests/mutants names it", property.id));
        }
    }
    complaints
}

#[test]
fn every_property_has_a_site_that_names_it_and_a_check() {
    let repository = Repository::here();
    let register = register(&repository);
    let ids: Vec<&str> = register.properties.iter().map(|property| &*property.id).collect();
    let families =
        [("POOL", 7), ("SHARD", 7), ("WIRE", 4), ("KAD", 11), ("LIN", 4), ("REG", 14), ("SIM", 3)];
    let all = |(family, count)| (1..=count).map(move |number: u32| format!("{family}-{number}"));
    for id in families.into_iter().flat_map(all) {
        assert!(ids.contains(&&*id), "specs/README.md: expected a row for {id}, got {ids:?}");
    }
    assert_none(&sites(&repository, &register));
}

#[test]
fn no_code_names_a_property_that_is_not_registered() {
    let repository = Repository::here();
    assert_none(&strangers(&repository, &register(&repository)));
}

#[test]
fn every_check_of_the_register_exists() {
    let repository = Repository::here();
    assert_none(&checks(&repository, &register(&repository)));
}

#[test]
fn every_property_has_a_mutant() {
    let repository = Repository::here();
    assert_none(&mutants(&repository, &register(&repository)));
}

/// A register with every fault that these checks are for.
#[test]
fn a_register_that_is_not_whole_is_refused() {
    // Put together here, so that this file does not name it.
    let lost = concat!("POOL", "-99");
    let page = "\
| id | sentence | upheld at | checked by |
|---|---|---|---|
| POOL-1 | Said. | `impl/pool/src/lost.rs` `impl/pool/src/tag.rs` | `check_nothing` `check_lost` |
| LOST | Said. | | |

| name | level | what | where |
|---|---|---|---|
| `check_nothing` | SAMPLED | said | `impl/pool/src/` |
| `check_unused` | SAMPLED | said | `impl/pool/lost/` |
";
    let repository = Repository::here();
    let register = Register::parse(&page.replace("LOST", lost)).unwrap();
    assert_eq!(
        sites(&repository, &register),
        [
            "POOL-1: its site impl/pool/src/lost.rs is no file",
            "POOL-1: its site impl/pool/src/tag.rs does not name it",
            &format!("{lost}: expected a file under `upheld at`, got none"),
            &format!("{lost}: expected a name under `checked by`, got none"),
        ]
    );
    assert_eq!(
        checks(&repository, &register),
        [
            "POOL-1: check `check_lost` is not in its table",
            "check `check_nothing`: nothing of that name at impl/pool/src/",
            "check `check_unused`: no property is checked by it",
            "check `check_unused`: nothing of that name at impl/pool/lost/",
        ]
    );
    let strangers = strangers(&repository, &register);
    let missing = |complaint: &String| complaint.contains("names POOL-1, whose `upheld at` lacks");
    assert!(strangers.iter().any(missing), "{strangers:?}");
    let unknown = |complaint: &String| complaint.ends_with("POOL-2 is not registered");
    assert!(strangers.iter().any(unknown), "{strangers:?}");
    assert_eq!(
        mutants(&repository, &register),
        [format!("{lost}: no patch in tests/mutants names it")]
    );
}
