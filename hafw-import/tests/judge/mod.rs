//! What must hold of an import of any text; the fuzz target asks it too.

use std::path::{Path, PathBuf};

use hafw_import::{Files, Inputs, Place, Surroundings, import};

/// Whatever the text, reading it ends, and every mistake and remark is one line with a place that
/// lies in the text.
pub(crate) fn judge(text: &str, inputs: Inputs<'_>) {
    let lies_in = |place: &Place, shown: &str| {
        let line = text.lines().nth(place.line - 1).unwrap_or_default();
        assert!(place.column <= line.chars().count() + 1, "{shown}\n{text}");
        assert!(!shown.contains('\n'), "{shown}");
    };
    let surroundings = Surroundings {
        host_name: "lb01".to_owned(),
        config_id: "lb01".to_owned(),
    };
    match import(inputs, &One(text), &surroundings, &|_| Vec::new()) {
        Ok(imported) => {
            for remark in &imported.remarks {
                lies_in(&remark.place, &remark.to_string());
            }
        }
        Err(mistakes) => {
            assert!(!mistakes.0.is_empty());
            for mistake in &mistakes.0 {
                if let Some(place) = &mistake.place {
                    lies_in(place, &mistake.to_string());
                }
            }
        }
    }
}

/// One file, which every path leads to.
struct One<'a>(&'a str);

impl Files for One<'_> {
    fn read(&self, _: &Path) -> Result<String, String> {
        Ok(self.0.to_owned())
    }

    fn matching(&self, pattern: &Path) -> Result<Vec<PathBuf>, String> {
        Ok(vec![pattern.to_path_buf()])
    }

    fn canonical(&self, path: &Path) -> PathBuf {
        path.to_path_buf()
    }

    fn program(&self, _: &str) -> Option<PathBuf> {
        None
    }
}
