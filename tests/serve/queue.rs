//! More VMs are asked for than may start at once.

use super::*;
use serde_json::json;

#[test]
fn vms_wait_for_their_turn_and_no_more_of_them_than_allowed() {
    // It never becomes ready, so it does not give its turn away by itself.
    let never = image_with("never", "probes: [{ name: nobody, tcp: \":9\", timeout: 3600s }]\n");
    let state = tempfile::tempdir().unwrap();
    let mut command = serve_here(state.path(), &never);
    let server = Server::start(command.args(["--max-starts", "1", "--max-queue", "1", "--stop-vms"]));
    let create = || server.ask("POST", "/vms", &[], &json!({ "image": "never", "memory": "512M" }).to_string());
    let id = |vm: &serde_json::Value| vm["id"].as_str().unwrap().to_owned();
    let first = id(&create().is(201).json());
    std::thread::scope(|scope| {
        let second = scope.spawn(|| id(&create().is(201).json()));
        wait_until("the second waits", || in_state(&server, "queued").len() == 1);
        let full = create().is(503);
        assert!(full.header("retry-after").is_some() && full.body.contains("problem:queue"), "{full:?}");
        assert_eq!(in_state(&server, "booting"), [first.as_str()]);

        server.ask("DELETE", &format!("/vms/{first}"), &[], "").is(204);
        let second = second.join().unwrap();
        assert_eq!(in_state(&server, "booting"), [second.as_str()]);

        // One that waits can be taken back; whoever has asked for it hears of that.
        let third = scope.spawn(|| create().is(409));
        wait_until("the third waits", || in_state(&server, "queued").len() == 1);
        server.ask("DELETE", &format!("/vms/{}", in_state(&server, "queued")[0]), &[], "").is(204);
        third.join().unwrap();
    });
    end(server);
    assert_eq!(left(state.path()), [""; 0]);
}
