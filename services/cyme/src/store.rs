//! What a branch keeps, in a database: SQLite, which is compiled in, PostgreSQL, or MySQL and MariaDB.
//!
//! One table has everything, a row for each application, queue and instance, with its fields as JSON. On a server branches
//! may share it.

use std::path::Path;
use std::str::FromStr as _;
use std::time::Duration;

use sqlx::mysql::{MySqlPool, MySqlPoolOptions};
use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions};
use sqlx::{Error, Row as _};

use crate::core::{Change, Model};

/// The tables of each version of SQLite's file; one of an earlier version is brought up to date.
const MIGRATIONS: &[&str] = &[
    "
CREATE TABLE app (
    name TEXT PRIMARY KEY NOT NULL, broker TEXT, arguments TEXT, extra_config TEXT);
CREATE TABLE queue (
    name TEXT PRIMARY KEY NOT NULL, exchange TEXT, exchange_type TEXT, routing_key TEXT, options TEXT);
CREATE TABLE instance (
    name TEXT PRIMARY KEY NOT NULL, app TEXT NOT NULL, queues TEXT NOT NULL, max_concurrency INTEGER NOT NULL,
    min_concurrency INTEGER NOT NULL, pool TEXT, is_enabled INTEGER NOT NULL, broker TEXT, arguments TEXT,
    extra_config TEXT, created_at REAL NOT NULL, deleting INTEGER NOT NULL, note TEXT);
",
    "
ALTER TABLE app ADD COLUMN uid TEXT NOT NULL DEFAULT '';
ALTER TABLE app ADD COLUMN buried TEXT NOT NULL DEFAULT '[]';
",
    "
CREATE TABLE cyme_thing (
    branch VARCHAR(128) NOT NULL, kind VARCHAR(16) NOT NULL, name VARCHAR(128) NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (branch, kind, name));
INSERT INTO cyme_thing SELECT '', 'app', name, json_object('name', name, 'broker', broker, 'arguments', arguments,
    'extra_config', extra_config, 'uid', uid, 'buried', json(buried)) FROM app;
INSERT INTO cyme_thing SELECT '', 'queue', name, json_object('name', name, 'exchange', exchange,
    'exchange_type', exchange_type, 'routing_key', routing_key, 'options', json(options)) FROM queue;
INSERT INTO cyme_thing SELECT '', 'instance', name, json_object('name', name, 'app', app, 'queues', json(queues),
    'max_concurrency', max_concurrency, 'min_concurrency', min_concurrency, 'pool', pool,
    'is_enabled', json(iif(is_enabled, 'true', 'false')), 'broker', broker, 'arguments', arguments,
    'extra_config', extra_config, 'created_at', created_at, 'deleting', json(iif(deleting, 'true', 'false')),
    'note', note) FROM instance;
DROP TABLE app;
DROP TABLE queue;
DROP TABLE instance;
",
];
/// The version of the tables on a server.
const SERVER: i64 = 1;
/// The table on a server. Names that differ by the case of a letter are different.
const POSTGRES: &str = "
CREATE TABLE IF NOT EXISTS cyme_version (one INTEGER PRIMARY KEY, version BIGINT NOT NULL);
INSERT INTO cyme_version VALUES (1, 1) ON CONFLICT DO NOTHING;
CREATE TABLE IF NOT EXISTS cyme_thing (
    branch VARCHAR(128) NOT NULL, kind VARCHAR(16) NOT NULL, name VARCHAR(128) NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (branch, kind, name));
";
const MYSQL: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS cyme_version (one INTEGER PRIMARY KEY, version BIGINT NOT NULL)",
    "INSERT IGNORE INTO cyme_version VALUES (1, 1)",
    // sqlx takes columns of the collation utf8mb4_bin for bytes: those that are read have another one.
    "CREATE TABLE IF NOT EXISTS cyme_thing (
    branch VARCHAR(128) COLLATE utf8mb4_bin NOT NULL, kind VARCHAR(16) NOT NULL,
    name VARCHAR(128) COLLATE utf8mb4_bin NOT NULL, body MEDIUMTEXT NOT NULL,
    PRIMARY KEY (branch, kind, name)) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci",
];
/// How long a server may take to let the branch in.
const CONNECT: Duration = Duration::from_secs(5);

#[derive(Clone, Debug)]
enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
    MySql(MySqlPool),
}

/// The same with the pool of each kind.
macro_rules! with {
    ($of:expr, $pool:ident => $act:expr) => {
        match $of {
            Pool::Sqlite($pool) => $act,
            Pool::Postgres($pool) => $act,
            Pool::MySql($pool) => $act,
        }
    };
}

/// The database, as one branch uses it.
#[derive(Clone, Debug)]
pub struct Store {
    pool: Pool,
    /// The branch whose rows these are. A file has those of one branch only.
    branch: String,
}

impl Store {
    /// Opens a file of SQLite, and makes it if there is none.
    pub async fn open(path: &Path) -> Result<Self, Error> {
        let options =
            SqliteConnectOptions::new().filename(path).create_if_missing(true).journal_mode(SqliteJournalMode::Wal);
        // One connection: changes are made in their order.
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await?;
        migrate(&pool).await?;
        Ok(Self { pool: Pool::Sqlite(pool), branch: String::new() })
    }

    /// Connects to a server: `postgres://`, `mysql://` or `mariadb://`, as `USER:PASSWORD@HOST:PORT/DATABASE`.
    pub async fn connect(url: &str, branch: &str) -> Result<Self, Error> {
        let branch = branch.to_owned();
        let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
        let pool = match scheme {
            "postgres" | "postgresql" => {
                let options = sqlx::postgres::PgConnectOptions::from_str(url)?;
                let pool =
                    PgPoolOptions::new().max_connections(1).acquire_timeout(CONNECT).connect_with(options).await?;
                // Branches may begin at the same time.
                let mut first = pool.begin().await?;
                sqlx::query("SELECT pg_advisory_xact_lock(6387231)").execute(&mut *first).await?;
                sqlx::raw_sql(POSTGRES).execute(&mut *first).await?;
                first.commit().await?;
                Pool::Postgres(pool)
            }
            "mysql" | "mariadb" => {
                let options = sqlx::mysql::MySqlConnectOptions::from_str(url)?;
                let pool =
                    MySqlPoolOptions::new().max_connections(1).acquire_timeout(CONNECT).connect_with(options).await?;
                for statement in MYSQL {
                    sqlx::query(statement).execute(&pool).await?;
                }
                Pool::MySql(pool)
            }
            other => {
                let reason = format!("'{other}' is not one of postgres, mysql, mariadb");
                return Err(Error::Configuration(reason.into()));
            }
        };
        let version: i64 =
            with!(&pool, pool => sqlx::query_scalar("SELECT version FROM cyme_version").fetch_one(pool).await?);
        match version {
            SERVER => Ok(Self { pool, branch }),
            version => Err(later(version)),
        }
    }

    /// All that is kept.
    pub async fn load(&self) -> Result<Model, Error> {
        let sql = self.placed("SELECT kind, body FROM cyme_thing WHERE branch = ?");
        let rows: Vec<(String, String)> =
            with!(&self.pool, pool => sqlx::query_as(&sql).bind(&self.branch).fetch_all(pool).await?);
        let mut model = Model::default();
        for (kind, body) in rows {
            let change = match kind.as_str() {
                "app" => serde_json::from_str(&body).map(Change::PutApp),
                "queue" => serde_json::from_str(&body).map(Change::PutQueue),
                _ => serde_json::from_str(&body).map(Change::PutInstance),
            };
            model.apply(&change.map_err(|error| Error::Decode(error.into()))?);
        }
        Ok(model)
    }

    /// Keeps a change.
    pub async fn keep(&self, change: &Change) -> Result<(), Error> {
        match change {
            Change::PutApp(app) => self.put("app", &app.name, app).await,
            Change::PutQueue(queue) => self.put("queue", &queue.name, queue).await,
            Change::PutInstance(instance) => self.put("instance", &instance.name, instance).await,
            Change::DropApp(name) => self.drop_thing("app", name).await,
            Change::DropQueue(name) => self.drop_thing("queue", name).await,
            Change::DropInstance(name) => self.drop_thing("instance", name).await,
        }
    }

    async fn put(&self, kind: &str, name: &str, thing: &impl serde::Serialize) -> Result<(), Error> {
        let body = serde_json::to_string(thing).map_err(|error| Error::Encode(error.into()))?;
        let sql = match &self.pool {
            Pool::Postgres(_) => {
                "INSERT INTO cyme_thing (branch, kind, name, body) VALUES (?, ?, ?, ?) \
                 ON CONFLICT (branch, kind, name) DO UPDATE SET body = EXCLUDED.body"
            }
            Pool::Sqlite(_) | Pool::MySql(_) => {
                "REPLACE INTO cyme_thing (branch, kind, name, body) VALUES (?, ?, ?, ?)"
            }
        };
        self.execute(sql, &[&self.branch, kind, name, &body]).await
    }

    async fn drop_thing(&self, kind: &str, name: &str) -> Result<(), Error> {
        let sql = "DELETE FROM cyme_thing WHERE branch = ? AND kind = ? AND name = ?";
        self.execute(sql, &[&self.branch, kind, name]).await
    }

    async fn execute(&self, sql: &str, values: &[&str]) -> Result<(), Error> {
        let sql = self.placed(sql);
        with!(&self.pool, pool => {
            let query = values.iter().fold(sqlx::query(&sql), |query, value| query.bind(*value));
            query.execute(pool).await.map(drop)
        })
    }

    /// A statement with the marks of places that the database understands.
    fn placed(&self, sql: &str) -> String {
        if !matches!(self.pool, Pool::Postgres(_)) {
            return sql.to_owned();
        }
        let mut parts = sql.split('?');
        let first = parts.next().unwrap_or_default().to_owned();
        parts.enumerate().fold(first, |sql, (number, part)| format!("{sql}${}{part}", number + 1))
    }

    /// Closes the connection.
    pub async fn close(&self) {
        with!(&self.pool, pool => pool.close().await);
    }
}

fn later(version: i64) -> Error {
    Error::Configuration(format!("its version {version} is of a later cyme-branch").into())
}

async fn migrate(pool: &SqlitePool) -> Result<(), Error> {
    let version: i64 = sqlx::query("PRAGMA user_version").fetch_one(pool).await?.try_get(0)?;
    let known = usize::try_from(version).unwrap_or(usize::MAX);
    if known > MIGRATIONS.len() {
        return Err(later(version));
    }
    for (number, tables) in MIGRATIONS.iter().enumerate().skip(known) {
        let mut transaction = pool.begin().await?;
        sqlx::raw_sql(tables).execute(&mut *transaction).await?;
        let set = format!("PRAGMA user_version = {}", number + 1);
        sqlx::query(&set).execute(&mut *transaction).await?;
        transaction.commit().await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::core::{App, Instance, Queue};

    #[tokio::test]
    async fn what_is_kept_is_there_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("branch.db");
        let store = Store::open(&path).await.unwrap();
        let wanted = changes(&store).await;
        store.close().await;
        let store = Store::open(&path).await.unwrap();
        assert_eq!(store.load().await.unwrap(), wanted);
    }

    /// Keeps one of everything, and what there should be then.
    async fn changes(store: &Store) -> Model {
        let options = json!({"durable": true}).as_object().cloned();
        let queue = Queue { name: "q".into(), exchange: Some("e".into()), options, ..Queue::default() };
        let (uid, buried) = ("u".into(), vec!["v".into()]);
        let app = App { name: "a".into(), broker: Some("redis://h/0".into()), uid, buried, ..App::default() };
        let instance = Instance {
            name: "i".into(),
            app: "a".into(),
            queues: vec![queue.clone()],
            max_concurrency: 4,
            min_concurrency: 2,
            is_enabled: true,
            created_at: 1.5,
            note: Some("n".into()),
            ..Instance::default()
        };
        let mut wanted = Model::default();
        for change in [
            Change::PutApp(app),
            Change::PutQueue(queue),
            Change::PutInstance(Box::new(instance.clone())),
            Change::PutInstance(Box::new(Instance { name: "j".into(), ..instance })),
            Change::DropInstance("j".into()),
            Change::PutQueue(Queue { name: "r".into(), ..Queue::default() }),
            Change::DropQueue("r".into()),
        ] {
            wanted.apply(&change);
            store.keep(&change).await.unwrap();
        }
        wanted
    }

    #[tokio::test]
    async fn a_file_of_an_earlier_version_is_brought_up_to_date() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("branch.db");
        let old = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
        let old = SqlitePoolOptions::new().max_connections(1).connect_with(old).await.unwrap();
        for statement in [
            MIGRATIONS[0],
            MIGRATIONS[1],
            "PRAGMA user_version = 2",
            "INSERT INTO app VALUES ('a', 'redis://h', NULL, 'x=1', 'u', '[\"v\"]')",
            "INSERT INTO queue VALUES ('q', NULL, NULL, 'k', '{\"durable\": true}')",
            "INSERT INTO queue VALUES ('p', NULL, NULL, NULL, NULL)",
            "INSERT INTO instance VALUES \
             ('i', 'a', '[{\"name\": \"q\"}]', 3, 2, 'solo', 1, NULL, '-O', NULL, 1.0e9, 0, NULL)",
        ] {
            sqlx::raw_sql(statement).execute(&old).await.unwrap();
        }
        old.close().await;
        let model = Store::open(&path).await.unwrap().load().await.unwrap();
        let (broker, extra_config) = (Some("redis://h".into()), Some("x=1".into()));
        let (uid, buried) = ("u".into(), vec!["v".into()]);
        assert_eq!(model.apps["a"], App { name: "a".into(), broker, arguments: None, extra_config, uid, buried });
        assert_eq!(model.queues["q"].options, json!({"durable": true}).as_object().cloned());
        assert_eq!((&model.queues["p"].options, model.queues["q"].routing_key.as_deref()), (&None, Some("k")));
        let instance = &model.instances["i"];
        assert_eq!((instance.is_enabled, instance.deleting, instance.max_concurrency), (true, false, 3));
        assert_eq!((instance.queues[0].name.as_str(), instance.created_at), ("q", 1e9));
    }

    #[tokio::test]
    async fn a_file_of_a_later_version_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("branch.db");
        let store = Store::open(&path).await.unwrap();
        store.execute("PRAGMA user_version = 99", &[]).await.unwrap();
        store.close().await;
        let error = Store::open(&path).await.unwrap_err().to_string();
        assert!(error.contains("later cyme-branch"), "{error}");
    }

    #[tokio::test]
    async fn other_databases_are_refused() {
        let error = Store::connect("oracle://h/d", "b").await.unwrap_err().to_string();
        assert!(error.contains("'oracle' is not one of postgres, mysql, mariadb"), "{error}");
    }
}
