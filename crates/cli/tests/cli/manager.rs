//! What service managers use: checks of the settings, and notifications to systemd.

use crate::command::run;

#[test]
fn check_reports_whether_serve_would_start_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let arguments = ["serve", "--check", "--data", data.to_str().unwrap()];
    let valid = run(&arguments);
    assert_eq!((valid.code, valid.out.as_str(), valid.err.as_str()), (0, "the settings are valid\n", ""));
    assert!(!data.exists());
    let keys = directory.path().join("keys");
    std::fs::write(&keys, "# nothing\nalice").unwrap();
    for (flags, code, message) in [
        (&["--ttl-min", "600"][..], 2, "default lease (300 s)"),
        (&["--tls-cert", "no/such/file", "--tls-key", "no/such/file"], 1, "no/such/file"),
        (&["--keys", "no/such/keys"], 1, "no/such/keys"),
        (&["--keys", keys.to_str().unwrap()], 1, "line 2"),
        (&["--print-config"], 2, "cannot be used with"),
    ] {
        let output = run(&[&arguments[..], flags].concat());
        assert_eq!(output.code, code, "{flags:?}: {}", output.err);
        assert!(output.err.contains(message), "{flags:?}: {}", output.err);
    }
}

#[test]
fn print_config_prints_the_effective_settings_with_their_sources() {
    let printed = run(&["serve", "--print-config", "--memory", "--ttl-min", "7"]);
    assert_eq!((printed.code, printed.err.as_str()), (0, ""));
    assert!(printed.out.contains("ttl-min = 7 # from the command line\n"), "{}", printed.out);
    assert!(printed.out.contains("listen = \"127.0.0.1:8080\"\n"), "{}", printed.out);
}

#[cfg(target_os = "linux")]
#[test]
fn systemd_is_told_when_the_service_is_ready_reloads_and_stops() {
    use std::ffi::OsStr;
    use std::os::unix::net::UnixDatagram;
    use std::time::Duration;

    use crate::command::Service;

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let received = || {
        let mut message = [0; 256];
        let len = socket.recv(&mut message).unwrap();
        String::from_utf8(message[..len].to_vec()).unwrap()
    };
    let notify_socket = ("NOTIFY_SOCKET", OsStr::new(path.to_str().unwrap()));
    let mut service = Service::start_with(&["--memory"], &[notify_socket]);
    assert_eq!(received(), "READY=1\n");
    service.running.signal("HUP");
    assert!(received().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert_eq!(received(), "READY=1\n");
    service.running.signal("TERM");
    assert_eq!(received(), "STOPPING=1\n");
    assert_eq!(service.running.wait(), Some(0));
}
