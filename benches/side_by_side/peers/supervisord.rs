//! supervisord, asked over its unix socket.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use nix::unistd::Pid;

use super::peer::{Job, Peer, Running, Task};
use super::xmlrpc::Connection;
use crate::client::bound;
use crate::clock::Moment;
use crate::harness::{Program, command};
use crate::outcome::Outcome;

pub(super) struct Supervisord {
    pub(super) name: String,
    pub(super) program: PathBuf,
}

impl Peer for Supervisord {
    fn name(&self) -> &str {
        &self.name
    }

    fn start(&self, job: &Job<'_>) -> Outcome<Option<Box<dyn Running>>> {
        if let Task::Statistics | Task::Nothing = job.task {
            return Ok(None);
        }
        let socket = job.room.join("control");
        let file = job.room.join("supervisord.conf");
        fs::write(&file, configuration(job))?;
        let began = Moment::now();
        let program = Program::daemon(command(&self.program).arg("-c").arg(&file), job.room)?;
        Ok(Some(Box::new(Daemon { program, began, socket, connection: None })))
    }
}

fn configuration(job: &Job<'_>) -> String {
    let room = job.room.display();
    let output = job.output().map_or("NONE".to_owned(), |file| file.display().to_string());
    format!(
        "[unix_http_server]\nfile={room}/control\n\
         [supervisord]\nlogfile={room}/supervisord.log\npidfile={room}/pid\nminfds=8192\nnodaemon=true\n\
         [rpcinterface:supervisor]\n\
         supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n\
         [program:w]\ncommand={}\nnumprocs={}\nprocess_name=%(program_name)s_%(process_num)d\n\
         autorestart=true\nstartsecs=0\nstdout_logfile={output}\nstdout_logfile_maxbytes=0\n",
        job.command(),
        job.workers
    )
}

struct Daemon {
    program: Program,
    began: Moment,
    socket: PathBuf,
    connection: Option<Connection>,
}

impl Running for Daemon {
    fn began(&self) -> Moment {
        self.began
    }

    fn ready(&mut self) -> Outcome<()> {
        bound(&self.socket, || self.program.has_ended())?;
        let mut connection = Connection::open(&self.socket)?;
        connection.call("supervisor.getState", &[])?;
        self.connection = Some(connection);
        Ok(())
    }

    fn ping(&mut self) -> Outcome<()> {
        match &mut self.connection {
            Some(connection) => connection.call("supervisor.getProcessInfo", &["w:w_0"]),
            None => self.ready(),
        }
    }

    fn managers(&self) -> Vec<Pid> {
        vec![self.program.pid()]
    }

    fn halt(&mut self) -> Outcome<()> {
        self.connection = None;
        self.program.end(Duration::from_secs(60))
    }
}
