//! What a branch keeps, in a file: SQLite, which is compiled in.

use std::path::Path;

use serde::de::DeserializeOwned;
use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow};

use crate::core::{App, Change, Instance, Model, Queue};

/// The tables of each version; a file of an earlier one is brought up to date.
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
];

/// The file.
#[derive(Clone, Debug)]
pub struct Store {
    pool: SqlitePool,
}

impl Store {
    /// Opens a file, and makes it if there is none.
    pub async fn open(path: &Path) -> Result<Self, sqlx::Error> {
        let options =
            SqliteConnectOptions::new().filename(path).create_if_missing(true).journal_mode(SqliteJournalMode::Wal);
        // One connection: changes are made in their order.
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await?;
        let store = Self { pool };
        store.migrate().await?;
        Ok(store)
    }

    async fn migrate(&self) -> Result<(), sqlx::Error> {
        let version: i64 = sqlx::query("PRAGMA user_version").fetch_one(&self.pool).await?.try_get(0)?;
        let known = usize::try_from(version).unwrap_or(usize::MAX);
        if known > MIGRATIONS.len() {
            return Err(sqlx::Error::Configuration(format!("its version {version} is of a later cyme-branch").into()));
        }
        for (number, tables) in MIGRATIONS.iter().enumerate().skip(known) {
            let mut transaction = self.pool.begin().await?;
            sqlx::raw_sql(tables).execute(&mut *transaction).await?;
            let set = format!("PRAGMA user_version = {}", number + 1);
            sqlx::query(&set).execute(&mut *transaction).await?;
            transaction.commit().await?;
        }
        Ok(())
    }

    /// All that is kept.
    pub async fn load(&self) -> Result<Model, sqlx::Error> {
        let mut model = Model::default();
        for row in sqlx::query("SELECT * FROM app").fetch_all(&self.pool).await? {
            model.apply(&Change::PutApp(app(&row)?));
        }
        for row in sqlx::query("SELECT * FROM queue").fetch_all(&self.pool).await? {
            model.apply(&Change::PutQueue(queue(&row)?));
        }
        for row in sqlx::query("SELECT * FROM instance").fetch_all(&self.pool).await? {
            model.apply(&Change::PutInstance(Box::new(instance(&row)?)));
        }
        Ok(model)
    }

    /// Keeps a change.
    pub async fn keep(&self, change: &Change) -> Result<(), sqlx::Error> {
        let query = match change {
            Change::PutApp(app) => sqlx::query(
                "REPLACE INTO app (name, broker, arguments, extra_config, uid, buried) VALUES (?, ?, ?, ?, ?, ?)",
            )
            .bind(&app.name)
            .bind(&app.broker)
            .bind(&app.arguments)
            .bind(&app.extra_config)
            .bind(&app.uid)
            .bind(text(&app.buried)),
            Change::PutQueue(queue) => sqlx::query(
                "REPLACE INTO queue (name, exchange, exchange_type, routing_key, options) VALUES (?, ?, ?, ?, ?)",
            )
            .bind(&queue.name)
            .bind(&queue.exchange)
            .bind(&queue.exchange_type)
            .bind(&queue.routing_key)
            .bind(queue.options.as_ref().map(text)),
            Change::PutInstance(instance) => put_instance(instance),
            Change::DropApp(name) => sqlx::query("DELETE FROM app WHERE name = ?").bind(name),
            Change::DropQueue(name) => sqlx::query("DELETE FROM queue WHERE name = ?").bind(name),
            Change::DropInstance(name) => sqlx::query("DELETE FROM instance WHERE name = ?").bind(name),
        };
        query.execute(&self.pool).await.map(drop)
    }

    /// Closes the file.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Sqlite, sqlx::sqlite::SqliteArguments<'q>>;

fn put_instance(instance: &Instance) -> Query<'_> {
    sqlx::query(
        "REPLACE INTO instance (name, app, queues, max_concurrency, min_concurrency, pool, is_enabled, broker, \
         arguments, extra_config, created_at, deleting, note) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&instance.name)
    .bind(&instance.app)
    .bind(text(&instance.queues))
    .bind(instance.max_concurrency)
    .bind(instance.min_concurrency)
    .bind(&instance.pool)
    .bind(instance.is_enabled)
    .bind(&instance.broker)
    .bind(&instance.arguments)
    .bind(&instance.extra_config)
    .bind(instance.created_at)
    .bind(instance.deleting)
    .bind(&instance.note)
}

fn text(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn parsed<T: DeserializeOwned>(text: &str) -> Result<T, sqlx::Error> {
    serde_json::from_str(text).map_err(|error| sqlx::Error::Decode(error.into()))
}

fn app(row: &SqliteRow) -> Result<App, sqlx::Error> {
    let buried: String = row.try_get("buried")?;
    Ok(App {
        name: row.try_get("name")?,
        broker: row.try_get("broker")?,
        arguments: row.try_get("arguments")?,
        extra_config: row.try_get("extra_config")?,
        uid: row.try_get("uid")?,
        buried: parsed(&buried)?,
    })
}

fn queue(row: &SqliteRow) -> Result<Queue, sqlx::Error> {
    let options: Option<String> = row.try_get("options")?;
    Ok(Queue {
        name: row.try_get("name")?,
        exchange: row.try_get("exchange")?,
        exchange_type: row.try_get("exchange_type")?,
        routing_key: row.try_get("routing_key")?,
        options: options.as_deref().map(parsed).transpose()?,
    })
}

fn instance(row: &SqliteRow) -> Result<Instance, sqlx::Error> {
    let queues: String = row.try_get("queues")?;
    Ok(Instance {
        name: row.try_get("name")?,
        app: row.try_get("app")?,
        queues: parsed(&queues)?,
        max_concurrency: row.try_get("max_concurrency")?,
        min_concurrency: row.try_get("min_concurrency")?,
        pool: row.try_get("pool")?,
        is_enabled: row.try_get("is_enabled")?,
        broker: row.try_get("broker")?,
        arguments: row.try_get("arguments")?,
        extra_config: row.try_get("extra_config")?,
        created_at: row.try_get("created_at")?,
        deleting: row.try_get("deleting")?,
        note: row.try_get("note")?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn what_is_kept_is_there_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("branch.db");
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
        let store = Store::open(&path).await.unwrap();
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
        store.close().await;
        let store = Store::open(&path).await.unwrap();
        assert_eq!(store.load().await.unwrap(), wanted);
    }

    #[tokio::test]
    async fn a_file_of_a_later_version_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("branch.db");
        let store = Store::open(&path).await.unwrap();
        sqlx::query("PRAGMA user_version = 99").execute(&store.pool).await.unwrap();
        store.close().await;
        let error = Store::open(&path).await.unwrap_err().to_string();
        assert!(error.contains("later cyme-branch"), "{error}");
    }
}
