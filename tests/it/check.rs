//! `circusd --check`. What it says of which file is in `tests/check`.

use crate::rig::Site;

#[test]
fn notes_are_told_and_do_not_fail() {
    let site = Site::new();
    let noted = site.write("noted.ini", "[watcher:w]\ncmd = a | b\nshell = yes\n");
    let output = site.run_circusd(&["--check", noted.to_str().unwrap()]);
    assert_eq!((output.status, output.stderr.as_str()), (Some(0), ""));
    assert!(output.stdout.contains("noted.ini:3: note: [watcher:w] shell: "), "{output:?}");
    assert_eq!(output.stdout.lines().count(), 1);
}

#[test]
fn unknown_keys_and_what_is_left_out_fail() {
    let site = Site::new();
    for (text, told) in [
        ("[watcher:w]\ncmd = x\ncolour = blue\n", "f.ini:3: unknown key 'colour' in [watcher:w]\n"),
        ("[watcher:w]\ncmd = x\n[watcher:v]\ncmd = x\nmax_age = old\n", "f.ini:5: [watcher:v] max_age: "),
    ] {
        let file = site.write("f.ini", text);
        let output = site.run_circusd(&["--check", file.to_str().unwrap()]);
        assert_eq!(output.status, Some(1), "{output:?}");
        assert!(output.stdout.contains(told), "{output:?}");
    }
}
