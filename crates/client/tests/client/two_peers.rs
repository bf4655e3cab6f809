//! The example in the README.

#[test]
fn the_example_in_the_readme_is_the_runnable_one() {
    let readme = include_str!("../../README.md");
    let runnable = include_str!("../../examples/two_peers.rs");
    let (_, after) = readme.split_once("```rust,no_run\n").unwrap();
    let (shown, _) = after.split_once("```").unwrap();
    // The file has a header that the README does not need.
    let code = runnable.find("use ").unwrap();
    assert_eq!(shown, &runnable[code..]);
}
