use std::env;
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Process, eventually, free_port, skipped};

/// What passes messages between programs, and where workers of Celery leave results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Redis,
    /// RabbitMQ, and results in a Redis.
    RabbitAndRedis,
    /// RabbitMQ, and results over it.
    Rabbit,
}

impl Kind {
    fn rabbit(self) -> bool {
        self != Self::Redis
    }

    fn redis(self) -> bool {
        self != Self::Rabbit
    }
}

const RABBIT: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// Whether there can be such a broker. Otherwise says that the test is left out.
pub fn has_broker(test: &str, kind: Kind) -> bool {
    let runs = |program: &str| Command::new(program).arg("--version").output().is_ok();
    let missing = match () {
        () if kind.redis() && !runs("redis-server") => "there is no redis-server",
        () if kind.rabbit() && !Path::new(RABBIT).is_file() => "there is no rabbitmq-server",
        () => return true,
    };
    skipped(test, missing);
    false
}

/// Whether a test that takes minutes with each broker is to run with this one. With RabbitMQ only where `CIRCUS_FLEETS` is
/// `all`: what it says otherwise is the one `SKIPPED` that `.ci/run` lets pass.
pub fn is_asked_for(test: &str, kind: Kind) -> bool {
    let asked = !kind.rabbit() || env::var("CIRCUS_FLEETS").as_deref() == Ok("all");
    if !asked {
        skipped(test, "CIRCUS_FLEETS=all runs it");
    }
    asked
}

/// The servers of a kind, with their files in a folder of the test. They end with it.
#[derive(Debug)]
pub struct Broker {
    kind: Kind,
    folder: PathBuf,
    redis_port: u16,
    /// Of RabbitMQ, of its other nodes, of epmd.
    ports: [u16; 3],
    servers: Vec<Process>,
    epmd: Option<Process>,
    /// With TLS only.
    secure: bool,
}

impl Broker {
    /// Starts the servers, and waits until they listen.
    pub fn start(kind: Kind, folder: &Path) -> Self {
        Self::new(kind, folder, false)
    }

    /// One that speaks TLS only, with the files `ca.pem`, `server.pem` and `server.key` of the folder.
    pub fn secure(kind: Kind, folder: &Path) -> Self {
        Self::new(kind, folder, true)
    }

    fn new(kind: Kind, folder: &Path, secure: bool) -> Self {
        let ports = [free_port(), free_port(), free_port()];
        let (folder, redis_port) = (folder.to_owned(), free_port());
        let mut broker = Self { kind, folder, redis_port, ports, servers: Vec::new(), epmd: None, secure };
        if kind.rabbit() {
            let mut epmd = Command::new("epmd");
            epmd.args(["-address", "127.0.0.1", "-port", &ports[2].to_string()]);
            broker.epmd = Some(Process::start(&mut epmd, &broker.folder.join("epmd.log")));
            fs::create_dir(broker.folder.join("rabbit")).unwrap();
            fs::write(broker.folder.join("rabbit/enabled_plugins"), "[].\n").unwrap();
        }
        broker.start_again();
        broker
    }

    /// Ends the servers; what they have in memory is lost.
    pub fn stop(&mut self) {
        self.servers.clear();
    }

    /// Kills the servers.
    pub fn kill(&mut self) {
        for server in &mut self.servers {
            server.kill();
        }
        self.servers.clear();
    }

    /// Starts the servers anew, at the ports that they had, and waits until they listen.
    pub fn start_again(&mut self) {
        if self.kind.redis() {
            let port = self.redis_port.to_string();
            let mut command = Command::new("redis-server");
            command.args([if self.secure { "--tls-port" } else { "--port" }, &port, "--bind", "127.0.0.1"]);
            command.args(["--save", "", "--appendonly", "no"]);
            if self.secure {
                command.args(["--port", "0", "--tls-cert-file", "server.pem", "--tls-key-file", "server.key"]);
                command.args(["--tls-ca-cert-file", "ca.pem", "--tls-auth-clients", "no"]);
            }
            self.run(command.current_dir(&self.folder), "redis.log", self.redis_port);
        }
        if self.kind.rabbit() {
            let [port, distribution, epmd] = self.ports;
            let home = self.folder.join("rabbit");
            let mut command = Command::new(RABBIT);
            command.env("HOME", &home).env("RUNNING_UNDER_SYSTEMD", "1").env("RABBITMQ_CONF_ENV_FILE", "/dev/null");
            command.env("RABBITMQ_NODENAME", format!("cyme{port}@localhost"));
            if self.secure {
                let file = |name: &str| self.folder.join(name).display().to_string();
                let text = format!(
                    "listeners.tcp = none\nlisteners.ssl.default = 127.0.0.1:{port}\nssl_options.cacertfile = {}\n\
                     ssl_options.certfile = {}\nssl_options.keyfile = {}\n",
                    file("ca.pem"),
                    file("server.pem"),
                    file("server.key")
                );
                fs::write(home.join("rabbitmq.conf"), text).unwrap();
                command.env("RABBITMQ_CONFIG_FILE", home.join("rabbitmq.conf"));
            } else {
                command.env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1").env("RABBITMQ_NODE_PORT", port.to_string());
            }
            command.env("RABBITMQ_DIST_PORT", distribution.to_string());
            command.env("ERL_EPMD_ADDRESS", "127.0.0.1").env("ERL_EPMD_PORT", epmd.to_string());
            command.env("RABBITMQ_MNESIA_BASE", home.join("mnesia")).env("RABBITMQ_LOG_BASE", home.join("log"));
            command.env("RABBITMQ_LOGS", "-").env("RABBITMQ_ENABLED_PLUGINS_FILE", home.join("enabled_plugins"));
            let local = "-kernel inet_dist_use_interface {127,0,0,1} -start_epmd false";
            command.env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", local);
            self.run(&mut command, "rabbit.log", port);
        }
    }

    fn run(&mut self, command: &mut Command, log: &str, port: u16) {
        self.servers.push(Process::start(command, &self.folder.join(log)));
        let address = format!("127.0.0.1:{port}");
        eventually(log, || TcpStream::connect(&address).ok());
    }

    /// The URL of what passes the messages.
    pub fn url(&self) -> String {
        self.arguments().swap_remove(1)
    }

    /// What a branch of Cyme is started with.
    pub fn arguments(&self) -> Vec<String> {
        let end = if self.secure { "s" } else { "" };
        let redis = format!("redis{end}://127.0.0.1:{}/0", self.redis_port);
        let rabbit = format!("amqp{end}://guest:guest@127.0.0.1:{}//", self.ports[0]);
        let words = match self.kind {
            Kind::Redis => vec!["-b", &redis],
            Kind::RabbitAndRedis => vec!["-b", &rabbit, "--result-backend", &redis],
            Kind::Rabbit => vec!["-b", &rabbit],
        };
        words.into_iter().map(str::to_owned).collect()
    }
}
