//! `circus-celery init`: a configuration of circusd for an application of Celery.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// What the configuration is made from.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The application, as in `celery -A`.
    pub app: String,
    /// The URL of its broker.
    pub broker: String,
    /// The queues; each gets a worker.
    pub queues: Vec<String>,
    /// The tasks that each worker runs at a time.
    pub concurrency: u32,
    /// The program celery.
    pub celery: PathBuf,
    /// This program.
    pub helper: PathBuf,
    /// Where the application can be imported from.
    pub path: PathBuf,
    /// Beat is wanted.
    pub beat: bool,
    /// The port of Flower, if it is wanted.
    pub flower: Option<u16>,
}

/// Writes `FOLDER/celery.ini`, which must not be there; the result is what to run next.
pub fn init(folder: &Path, plan: &Plan) -> Result<String, String> {
    let told = |error: std::io::Error| format!("{}: {error}", folder.display());
    fs::create_dir_all(folder).map_err(told)?;
    let folder = folder.canonicalize().map_err(told)?;
    let text = text(&folder, plan)?;
    let file = folder.join("celery.ini");
    let wrong = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => format!("{} is there already; init overwrites nothing", file.display()),
        _ => format!("{}: {error}", file.display()),
    };
    // The URL of the broker may have a password.
    let mut made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file).map_err(wrong)?;
    made.write_all(text.as_bytes()).map_err(wrong)?;
    let path = folder.display();
    Ok(format!(
        "{path}/celery.ini is written. Next:\n  circusd --check {path}/celery.ini\n  circusd --daemon {path}/celery.ini\n  \
         export CIRCUSCTL_ENDPOINT=ipc://{path}/control\n  circusctl status\n"
    ))
}

/// A word that means itself in an INI file, in a command line and as a part of a name.
fn plain(what: &str, text: &str) -> Result<String, String> {
    let means_itself = |c: char| c.is_alphanumeric() || "/._-+@:".contains(c);
    match !text.is_empty() && text.chars().all(means_itself) {
        true => Ok(text.to_owned()),
        false => Err(format!("{what} '{text}': letters, digits and . _ - + @ : / are possible")),
    }
}

fn text(folder: &Path, plan: &Plan) -> Result<String, String> {
    let path = |what, path: &Path| plain(what, &path.to_string_lossy());
    let (folder, app) = (path("the folder", folder)?, plain("the application", &plan.app)?);
    let (celery, helper) = (path("the program celery", &plan.celery)?, path("this program", &plan.helper)?);
    let imports = path("the folder of the application", &plan.path)?;
    if plan.broker.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(format!("the broker '{}': a URL has no blanks", plan.broker));
    }
    crate::BrokerUrl::parse(&plan.broker)?;
    let mut text = format!(
        "\
; Celery for {app}, made by circus-celery init: see circus-celery(1).

[DEFAULT]
stdout_stream.class = FileStream
stdout_stream.filename = {folder}/celery.log
stdout_stream.max_bytes = 10000000
stdout_stream.backup_count = 3
stderr_stream.class = FileStream
stderr_stream.filename = {folder}/celery.log
stderr_stream.max_bytes = 10000000
stderr_stream.backup_count = 3

[circus]
endpoint = ipc://{folder}/control
pubsub_endpoint = ipc://{folder}/events
pidfile = {folder}/circusd.pid
logoutput = {folder}/circusd.log
strict = yes

; Succeeds when the broker answers. What comes after it starts then.
[watcher:broker]
kind = oneshot
cmd = {helper} wait
"
    );
    for queue in &plan.queues {
        let queue = plain("the queue", queue)?;
        // A watcher's name has no colon or slash.
        let name = queue.replace(['/', ':', '@', '+'], "-");
        text.push_str(&format!(
            "
[watcher:worker-{name}]
cmd = {helper} worker -- {celery} -A {app} worker -n {name}@%h -Q {queue} -c {} --loglevel=INFO
after = broker
; Ready, and healthy, is a worker that consumes its queue. A reload stops the old workers only then.
ready = exec:{helper} ready
health = exec:{helper} health
health_interval = 30
health_timeout = 10
; Before each stop a worker takes no more tasks, and ends those that it has: none is lost, none runs twice.
hooks.before_signal = exec:{helper} drain, True
; the longest task, in seconds
hook_timeout = 600
graceful_timeout = 60
; a successor each day, before the old worker is drained
max_age = 86400
max_age_variance = 3600
reload = overlap
",
            plan.concurrency
        ));
    }
    if plan.beat {
        text.push_str(&format!(
            "
; One beat among all machines with this broker.
[watcher:beat]
cmd = {helper} beat --name {app} -- {celery} -A {app} beat --pidfile= --schedule={folder}/beat-schedule --loglevel=INFO
after = broker
singleton = yes
"
        ));
    }
    if let Some(port) = plan.flower {
        text.push_str(&format!(
            "
[watcher:flower]
cmd = {celery} -A {app} flower --address=127.0.0.1 --port={port}
after = broker, worker-*
singleton = yes
"
        ));
    }
    let programs = plan.celery.parent().map(|parent| format!("{}:", parent.display())).unwrap_or_default();
    text.push_str(&format!(
        "
[env:*]
PATH = {programs}/usr/local/bin:/usr/bin:/bin
PYTHONPATH = {imports}
PYTHONUNBUFFERED = 1
HOME = {folder}
; Celery prefers it to what the application says, and circus-celery reads it.
CELERY_BROKER_URL = {}
",
        plan.broker
    ));
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan {
            app: "site.tasks".into(),
            broker: "redis://127.0.0.1:6379/0".into(),
            queues: vec!["mail".into(), "a/b".into()],
            concurrency: 4,
            celery: "/srv/venv/bin/celery".into(),
            helper: "/usr/bin/circus-celery".into(),
            path: "/srv/site".into(),
            beat: true,
            flower: Some(5555),
        }
    }

    #[test]
    fn each_queue_has_a_worker() {
        let text = text(Path::new("/srv/run"), &plan()).unwrap();
        assert!(text.contains("[watcher:worker-mail]\ncmd = /usr/bin/circus-celery worker -- /srv/venv/bin/celery -A site.tasks worker -n mail@%h -Q mail -c 4 "));
        assert!(text.contains("[watcher:worker-a-b]\n") && text.contains(" -Q a/b "));
        assert!(text.contains("[watcher:beat]") && text.contains("[watcher:flower]"));
        let bare = Plan { beat: false, flower: None, ..plan() };
        let bare = super::text(Path::new("/srv/run"), &bare).unwrap();
        assert!(!bare.contains("[watcher:beat]") && !bare.contains("[watcher:flower]"));
    }

    #[test]
    fn what_would_mean_more_is_refused() {
        let refused = |plan: Plan| text(Path::new("/srv/run"), &plan).unwrap_err();
        assert!(refused(Plan { app: "a; b".into(), ..plan() }).starts_with("the application 'a; b'"));
        assert!(refused(Plan { queues: vec!["x\ny".into()], ..plan() }).starts_with("the queue"));
        assert!(refused(Plan { broker: "nonsense".into(), ..plan() }).contains("is not a URL"));
        assert!(text(Path::new("/srv/my run"), &plan()).is_err());
    }
}
