//! `hafw import`: whatever the text, reading it ends, and every mistake and remark is one line with
//! a place that lies in the text.
#![no_main]

#[path = "../../hafw-import/tests/judge/mod.rs"]
mod judge;

use std::path::Path;

use hafw_import::Inputs;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let path = Some(Path::new("f"));
    let keepalived = Inputs {
        keepalived: path,
        ..Inputs::default()
    };
    let nginx = Inputs {
        nginx: path,
        ..Inputs::default()
    };
    for inputs in [keepalived, nginx] {
        judge::judge(text, inputs);
    }
});
