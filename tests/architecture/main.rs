//! The structure that docs/ARCHITECTURE.md promises: no import cycles among modules, and crates that depend
//! on each other as its table says.

mod crates;
mod cycles;
mod modules;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use modules::{Crate, ModulePath};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn cycles_in(name: &str) -> Vec<cycles::Cycle> {
    cycles::find(&Crate::read(&crates::root_file(&workspace(), name)).edges())
}

#[test]
fn no_crate_has_an_import_cycle() {
    let mut report = String::new();
    for name in crates::names(&workspace()) {
        for cycle in cycles_in(&name) {
            report += &format!(
                "\n{name}: cycle among {} in {}:\n    {}\n",
                cycle.members.join(", "),
                if cycle.parent.is_empty() {
                    "the crate root".into()
                } else {
                    cycle.parent.join("::")
                },
                cycle.because.join("\n    ")
            );
        }
    }
    assert!(report.is_empty(), "modules import each other in a circle:{report}");
}

#[test]
fn crate_dependencies_match_the_documented_table() {
    let promised = crates::promised(&workspace());
    assert!(promised.len() > 5, "no table found in docs/ARCHITECTURE.md");
    for name in crates::names(&workspace()) {
        let allowed = promised.get(&name).unwrap_or_else(|| {
            panic!("crate {name} is not in the table of crates in docs/ARCHITECTURE.md")
        });
        let used = crates::dependencies(&workspace(), &name);
        let surplus: Vec<_> = used.difference(allowed).collect();
        assert!(
            surplus.is_empty(),
            "{name} depends on {surplus:?}, which the table does not allow"
        );
        let unused: Vec<_> = allowed.difference(&used).collect();
        assert!(unused.is_empty(), "the table allows {name} to use {unused:?}, which it does not");
    }
}

fn path(text: &str) -> ModulePath {
    text.split("::").map(str::to_owned).collect()
}

fn edges(pairs: &[(&str, &str)]) -> BTreeSet<(ModulePath, ModulePath)> {
    pairs.iter().map(|(from, to)| (path(from), path(to))).collect()
}

#[test]
fn cycles_are_found_at_any_level_and_through_other_modules() {
    let found = cycles::find(&edges(&[("a::x", "b"), ("b", "c::y"), ("c", "a::z")]));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].members, ["a", "b", "c"]);
    let found = cycles::find(&edges(&[("m::a", "m::b::deep"), ("m::b", "m::a")]));
    assert_eq!((found.len(), found[0].parent.join("::")), (1, "m".to_owned()));
    assert_eq!(found[0].because, ["m::a uses m::b::deep", "m::b uses m::a"]);
}

#[test]
fn parent_and_children_do_not_form_a_cycle() {
    assert_eq!(cycles::find(&edges(&[("a", "a::x"), ("a::x", "a"), ("a", "b"), ("c", "b")])), []);
}

#[test]
fn references_are_read_from_imports_code_macros_and_reexports() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write =
        |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("a file");
    write(
        "lib.rs",
        "mod a; mod b; mod c; mod d; pub use b::Deep; #[cfg(test)] mod tests { use crate::a; }",
    );
    write("a.rs", "use crate::Deep; fn f() { json!({ \"x\": [crate::c::g()] }) }");
    write("b.rs", "pub struct Deep; #[cfg(test)] use crate::a::f;");
    write("c.rs", "pub fn g() -> super::d::T { super::d::T }");
    write("d.rs", "pub struct T;");
    let found = Crate::read(&folder.path().join("lib.rs")).edges();
    assert_eq!(found, edges(&[("a", "b"), ("a", "c"), ("c", "d")]));
}
