//! Compares the list of arguments with the sources.

use std::path::Path;

use super::super::arguments::SIGNATURES;

/// Parses the kernels that a source declares: names, and their arguments' types and names. A kernel
/// defined by a macro has the macro's name in lower case.
fn declared(source: &str) -> Vec<(String, Vec<(String, String)>)> {
    const MARK: &str = "extern \"C\" __global__ void ";
    let source = source.replace("\\\n", " ");
    source
        .match_indices(MARK)
        .map(|(at, _)| {
            let mut rest = source[at + MARK.len()..].trim_start();
            if let Some(bounded) = rest.strip_prefix("__launch_bounds__(") {
                rest = bounded.split_once(')').unwrap().1.trim_start();
            }
            let (name, rest) = rest.split_once('(').unwrap();
            let name = match name {
                "NAME" => {
                    let line = source[..at].lines().next_back().unwrap();
                    let macro_name = line.trim().strip_prefix("#define ").expect(line);
                    macro_name.split_once('(').unwrap().0.to_lowercase()
                }
                name => name.to_owned(),
            };
            let parameters = rest.split_once(')').unwrap().0.split(',');
            let parameter = |text: &str| {
                let (kind, name) = text.trim().rsplit_once(' ').expect(text);
                (kind.trim_start_matches("const ").to_owned(), name.to_owned())
            };
            (name, parameters.map(parameter).collect())
        })
        .collect()
}

/// Compares kernels and their arguments' order, types and names; the order of kernels does not
/// matter.
#[test]
fn listed_kernel_signatures_match_the_sources() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/kernels/cuda");
    let all = std::fs::read_to_string(folder.join("kernels.cu")).unwrap();
    let files = all.lines().filter_map(|line| line.strip_prefix("#include \"")?.strip_suffix('"'));
    let mut found = Vec::new();
    for file in files {
        found.extend(declared(&std::fs::read_to_string(folder.join(file)).unwrap()));
    }
    let mut listed: Vec<_> = SIGNATURES
        .iter()
        .map(|(name, parameters)| {
            let own = |(kind, name): &(&str, &str)| ((*kind).to_owned(), (*name).to_owned());
            ((*name).to_owned(), parameters.iter().map(own).collect::<Vec<_>>())
        })
        .collect();
    found.sort();
    listed.sort();
    assert_eq!(listed, found, "left: arguments.rs, right: the sources");
}

#[test]
fn kernel_declarations_are_parsed() {
    let source = "
/// A kernel.
extern \"C\" __global__ void one(
    const float* x, unsigned* y, int len
) {}
static __device__ void none(float* x) {}
#define TWO(NAME, T) \\
    extern \"C\" __global__ void __launch_bounds__(THREADS) NAME( \\
        const T* pages, \\
        float eps \\
    ) { \\
        two<T>(pages, eps); \\
    }
";
    let pairs = |all: &[(&str, &str)]| {
        all.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect::<Vec<_>>()
    };
    let one = pairs(&[("float*", "x"), ("unsigned*", "y"), ("int", "len")]);
    let two = pairs(&[("T*", "pages"), ("float", "eps")]);
    assert_eq!(declared(source), [("one".to_owned(), one), ("two".to_owned(), two)]);
}
