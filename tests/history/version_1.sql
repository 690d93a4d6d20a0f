BEGIN TRANSACTION;
CREATE TABLE benchmarks (
	id INTEGER NOT NULL,
	run VARCHAR(64) NOT NULL,
	host VARCHAR(255) NOT NULL,
	time FLOAT NOT NULL,
	hardware_class VARCHAR(64) NOT NULL,
	model VARCHAR(255) NOT NULL,
	format VARCHAR(32) NOT NULL,
	precision VARCHAR(16) NOT NULL,
	engine VARCHAR(32) NOT NULL,
	version VARCHAR(255) NOT NULL,
	verdict VARCHAR(16) NOT NULL,
	reason TEXT NOT NULL,
	metric VARCHAR(64) NOT NULL,
	value FLOAT,
	metrics JSON NOT NULL,
	PRIMARY KEY (id)
);
INSERT INTO "benchmarks" VALUES(1,'r1','pi-1',1004.0,'rpi4','go','onnx','int8','onnxruntime','v1','pass','10.0 evals/s','evals_per_s',10.0,'{"evals_per_s": 10.0, "load_s": 0.1}');
CREATE TABLE hosts (
	run VARCHAR(64) NOT NULL,
	host VARCHAR(255) NOT NULL,
	time FLOAT NOT NULL,
	status VARCHAR(32) NOT NULL,
	outcome JSON NOT NULL,
	PRIMARY KEY (run, host)
);
INSERT INTO "hosts" VALUES('r1','pi-1',1004.0,'deployed','{"status": "deployed", "release": "go-v1-0123456789ab", "previous": null, "hardware_class": "rpi4", "artifact": {"model": "go", "version": "v1", "format": "onnx", "precision": "int8", "sha256": "0000000000000000000000000000000000000000000000000000000000000000"}, "engine": "onnxruntime", "verify": {"verdict": "pass", "reason": "10.0 evals/s", "metrics": {"evals_per_s": 10.0, "load_s": 0.1}}, "error": null}');
CREATE TABLE runs (
	id VARCHAR(64) NOT NULL,
	command TEXT NOT NULL,
	user TEXT NOT NULL,
	hosts INTEGER NOT NULL,
	started FLOAT NOT NULL,
	finished FLOAT,
	outcome VARCHAR(32),
	exit_code INTEGER,
	PRIMARY KEY (id)
);
INSERT INTO "runs" VALUES('r1','deploy','me@here',1,1000.0,1005.0,'deployed',0);
CREATE TABLE transitions (
	id INTEGER NOT NULL,
	run VARCHAR(64) NOT NULL,
	host VARCHAR(255) NOT NULL,
	time FLOAT NOT NULL,
	state VARCHAR(32) NOT NULL,
	release TEXT,
	detail TEXT NOT NULL,
	PRIMARY KEY (id)
);
INSERT INTO "transitions" VALUES(1,'r1','pi-1',1000.0,'connect','go-v1','');
INSERT INTO "transitions" VALUES(2,'r1','pi-1',1001.0,'stage','go-v1','');
INSERT INTO "transitions" VALUES(3,'r1','pi-1',1002.0,'activate','go-v1','');
INSERT INTO "transitions" VALUES(4,'r1','pi-1',1003.0,'verify','go-v1','');
CREATE INDEX ix_runs_started ON runs (started);
CREATE INDEX hosts_by_host ON hosts (host, time);
CREATE INDEX ix_transitions_run ON transitions (run);
CREATE INDEX ix_benchmarks_run ON benchmarks (run);
CREATE INDEX ix_benchmarks_host ON benchmarks (host);
CREATE INDEX benchmarks_by_key ON benchmarks (hardware_class, model, format, precision, engine);
COMMIT;
PRAGMA user_version = 1;
