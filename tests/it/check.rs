//! `circusd --check`. What it says of which file is in `tests/check`.

use crate::rig::Site;

#[test]
fn notes_are_told_and_do_not_fail() {
    let site = Site::new();
    let noted = site.write("noted.ini", "[circus]\nendpoint = ipc://{dir}/c\n[watcher:w]\ncmd = a | b\nshell = yes\n");
    let output = site.run_circusd(&["--check", noted.to_str().unwrap()]);
    assert_eq!((output.status, output.stderr.as_str()), (Some(0), ""));
    assert!(output.stdout.contains("noted.ini:5: note: [watcher:w] shell: "), "{output:?}");
    assert_eq!(output.stdout.lines().skip(1).collect::<Vec<_>>(), ["ok: 1 watcher, 0 sockets"]);
}

#[test]
fn unknown_keys_and_what_is_left_out_fail() {
    let site = Site::new();
    let (well, ill) = ("[watcher:w]\ncmd = sh\n", "[watcher:v]\ncmd = sh\n");
    for (text, status, told) in [
        (format!("{well}colour = blue\n"), 3, "f.ini:3: warning: unknown key 'colour' in [watcher:w]\n"),
        (format!("{well}{ill}max_age = old\n"), 1, "f.ini:5: error: [watcher:v] max_age: "),
        (format!("{well}uid = there-is-no-such-user\n"), 1, "f.ini:3: error: [watcher:w] uid: there is no user "),
        ("[watcher:w]\ncmd = /no/such\n".to_owned(), 1, "f.ini:2: error: [watcher:w] cmd: there is no file /no/such\n"),
    ] {
        let file = site.write("f.ini", &text);
        let output = site.run_circusd(&["--check", file.to_str().unwrap()]);
        assert_eq!(output.status, Some(status), "{output:?}");
        assert!(output.stdout.contains(told), "{output:?}");
    }
}

#[test]
fn json_names_every_place() {
    let site = Site::new();
    let file = site.write("f.ini", "[watcher:w]\ncmd = sh\ncolour = blue\n");
    let output = site.run_circusd(&["--check", "--json", file.to_str().unwrap()]);
    let report: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!((&report["ok"], &report["warnings"]), (&false.into(), &1.into()));
    // Beside it stands what concerns the user that asks: root's endpoint.
    let problems = report["problems"].as_array().unwrap();
    let warning = problems.iter().find(|problem| problem["level"] == "warning").unwrap();
    assert_eq!(warning["line"], 3, "{output:?}");
}

#[test]
fn a_file_without_a_watcher_is_refused_where_one_was_meant() {
    let site = Site::new();
    let file = site.write("f.ini", "[program:web]\ncommand = sleep 1\n");
    for arguments in [vec![], vec!["--check"]] {
        let output = site.run_circusd(&[arguments, vec![file.to_str().unwrap()]].concat());
        let said = format!("{}{}", output.stdout, output.stderr);
        assert_eq!(output.status, Some(1), "{output:?}");
        assert!(
            said.contains("f.ini:1: error: no watcher is defined: [program:web] is not a watcher section"),
            "{said}"
        );
    }
}

#[test]
fn files_that_circusd_would_refuse_are_reported_all_at_once() {
    use std::os::unix::fs::PermissionsExt as _;
    let site = Site::new();
    let write = |name: &str, mode: u32| {
        let path = site.write(name, "x");
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    write("audit", 0o644);
    write("state", 0o666);
    write("server.key_secret", 0o640);
    write("keys", 0o666);
    let text = "[circus]\nendpoint = ipc://{dir}/c\naudit_log = {dir}/audit\nstate_file = {dir}/state\n\
                curve_server_key = {dir}/server.key_secret\ncurve_authorized_keys = {dir}/keys\n[watcher:w]\ncmd = sh\n";
    let check = || {
        let file = site.write("f.ini", text);
        site.run_circusd(&["--check", file.to_str().unwrap()])
    };
    let output = check();
    assert_eq!(output.status, Some(1), "{output:?}");
    for told in [
        "f.ini:3: error: [circus] audit_log: others may read or change it (mode 0644): chmod 600 ",
        "f.ini:4: error: [circus] state_file: it is not a file that circusd's user alone can write; remove it",
        "f.ini:5: error: [circus] curve_server_key: others may read or change it (mode 0640): chmod 600 ",
        "f.ini:6: error: [circus] curve_authorized_keys: others may write to it (mode 0666): chmod 644 ",
    ] {
        assert!(output.stdout.contains(told), "{told}: {output:?}");
    }
    for name in ["audit", "state", "server.key_secret", "keys"] {
        std::fs::remove_file(site.path(name)).unwrap();
    }
    std::fs::create_dir(site.path("keys")).unwrap();
    let keygen = site.circusctl(&["keygen", "server"]);
    assert_eq!(keygen.status, Some(0), "{keygen:?}");
    assert_eq!(check().status, Some(0), "{:?}", check());
    assert!(!site.path("audit").exists() && !site.path("state").exists(), "nothing is made");
}
