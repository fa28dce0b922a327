//! Reads a crate's module tree and the references between its modules, from the sources alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemMod, ItemUse, UseTree, Visibility};

/// A module's path below the crate root; the root's is empty.
pub(crate) type ModulePath = Vec<String>;

/// A crate's modules, without those compiled for tests alone.
#[derive(Debug, Default)]
pub(crate) struct Crate {
    modules: BTreeMap<ModulePath, Module>,
}

#[derive(Debug, Default)]
struct Module {
    /// Paths that the code names, as written: they begin with `crate`, `self` or `super`.
    references: BTreeSet<Vec<String>>,
    /// Re-exported names, each with the path it stands for, as written.
    reexports: BTreeMap<String, Vec<String>>,
}

impl Crate {
    /// Reads the crate whose root is the file `root` (`src/lib.rs`).
    pub(crate) fn read(root: &Path) -> Self {
        let mut this = Self::default();
        let folder = root.parent().expect("a source file lies in a folder");
        this.read_file(root, folder, vec![]);
        this
    }

    /// Pairs of modules, the first of which names something of the second.
    pub(crate) fn edges(&self) -> BTreeSet<(ModulePath, ModulePath)> {
        let mut edges = BTreeSet::new();
        for (from, module) in &self.modules {
            for path in &module.references {
                let to = self.resolve(from, path, 0);
                if to != *from {
                    edges.insert((from.clone(), to));
                }
            }
        }
        edges
    }

    /// Reads one file of module `path`; its child modules lie in `folder`.
    fn read_file(&mut self, file: &Path, folder: &Path, path: ModulePath) {
        let text = fs::read_to_string(file)
            .unwrap_or_else(|error| panic!("can't read {}: {error}", file.display()));
        let parsed = syn::parse_file(&text)
            .unwrap_or_else(|error| panic!("can't parse {}: {error}", file.display()));
        self.read_items(&parsed.items, folder, path);
    }

    fn read_items(&mut self, items: &[Item], folder: &Path, path: ModulePath) {
        let mut module = Module::default();
        for item in items {
            match item {
                Item::Mod(child) if is_test(&child.attrs) => {}
                Item::Mod(child) => self.read_child(child, folder, &path),
                Item::Use(import) => module.add_import(import),
                other => References { found: &mut module.references }.visit_item(other),
            }
        }
        self.modules.insert(path, module);
    }

    fn read_child(&mut self, child: &ItemMod, folder: &Path, parent: &[String]) {
        let name = child.ident.to_string();
        let path: ModulePath = parent.iter().cloned().chain([name.clone()]).collect();
        let own_folder = folder.join(&name);
        if let Some((_, items)) = &child.content {
            return self.read_items(items, &own_folder, path);
        }
        let candidates = [folder.join(format!("{name}.rs")), own_folder.join("mod.rs")];
        let file = path_attribute(&child.attrs)
            .map(|given| folder.join(given))
            .or_else(|| candidates.into_iter().find(|file| file.exists()))
            .unwrap_or_else(|| panic!("module {name} has no file in {}", folder.display()));
        self.read_file(&file, &own_folder, path);
    }

    /// The module that defines the item `path` names when written in module `from`.
    fn resolve(&self, from: &[String], path: &[String], depth: usize) -> ModulePath {
        let mut at: ModulePath = match path.first().map(String::as_str) {
            Some("crate") => vec![],
            Some("super") => from[..from.len().saturating_sub(1)].to_vec(),
            _ => from.to_vec(),
        };
        for name in &path[1..] {
            if name == "super" {
                at.pop();
                continue;
            }
            let mut below = at.clone();
            below.push(name.clone());
            if self.modules.contains_key(&below) {
                at = below;
            } else {
                let target = self.modules.get(&at).and_then(|module| module.reexports.get(name));
                return match target {
                    Some(target) if depth < 8 => self.resolve(&at, target, depth + 1),
                    _ => at,
                };
            }
        }
        at
    }
}

impl Module {
    fn add_import(&mut self, import: &ItemUse) {
        if is_test(&import.attrs) {
            return;
        }
        let mut leaves = vec![];
        flatten(&import.tree, &mut vec![], &mut leaves);
        for (mut path, name) in leaves {
            // `use child::Item` names a child module of this one.
            let relative = !matches!(path[0].as_str(), "crate" | "self" | "super");
            if relative && !matches!(import.vis, Visibility::Inherited) {
                path.insert(0, "self".into());
            } else if relative {
                continue; // another crate, or a child: a parent may use its children
            }
            if !matches!(import.vis, Visibility::Inherited) {
                // A re-export is no use: whoever takes the name from here uses the target.
                self.reexports.insert(name, path);
            } else {
                self.references.insert(path);
            }
        }
    }
}

/// Lists the leaves of a use tree: path and the name it gets.
fn flatten(tree: &UseTree, prefix: &mut Vec<String>, leaves: &mut Vec<(Vec<String>, String)>) {
    match tree {
        UseTree::Path(path) => {
            prefix.push(path.ident.to_string());
            flatten(&path.tree, prefix, leaves);
            prefix.pop();
        }
        UseTree::Group(group) => {
            group.items.iter().for_each(|tree| flatten(tree, prefix, leaves));
        }
        UseTree::Name(name) => {
            let name = name.ident.to_string();
            let mut path = prefix.clone();
            if name != "self" {
                path.push(name.clone());
            }
            leaves.push((path, name));
        }
        UseTree::Rename(rename) => {
            let mut path = prefix.clone();
            path.push(rename.ident.to_string());
            leaves.push((path, rename.rename.to_string()));
        }
        UseTree::Glob(_) => leaves.push((prefix.clone(), "*".into())),
    }
}

/// Collects the paths that begin with `crate`, `self` or `super`, macros' arguments included.
struct References<'a> {
    found: &'a mut BTreeSet<Vec<String>>,
}

impl References<'_> {
    fn add(&mut self, path: Vec<String>) {
        let first = path.first().map_or("", String::as_str);
        if path.len() > 1 && matches!(first, "crate" | "self" | "super") {
            self.found.insert(path);
        }
    }

    fn scan(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = vec![];
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.add(std::mem::take(&mut path));
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Group(group) => {
                    self.add(std::mem::take(&mut path));
                    self.scan(group.stream());
                    colons = 0;
                }
                _ => {
                    self.add(std::mem::take(&mut path));
                    colons = 0;
                }
            }
        }
        self.add(path);
    }
}

impl<'ast> Visit<'ast> for References<'_> {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.add(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    fn visit_item_use(&mut self, import: &'ast ItemUse) {
        let mut leaves = vec![];
        flatten(&import.tree, &mut vec![], &mut leaves);
        leaves.into_iter().for_each(|(path, _)| self.add(path));
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.scan(call.tokens.clone());
        visit::visit_macro(self, call);
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.meta.require_list().is_ok_and(|list| list.tokens.to_string() == "test")
    })
}

fn path_attribute(attributes: &[Attribute]) -> Option<PathBuf> {
    let attribute = attributes.iter().find(|attribute| attribute.path().is_ident("path"))?;
    let syn::Expr::Lit(literal) = &attribute.meta.require_name_value().ok()?.value else {
        return None;
    };
    match &literal.lit {
        syn::Lit::Str(text) => Some(PathBuf::from(text.value())),
        _ => None,
    }
}
