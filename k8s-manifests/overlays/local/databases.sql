-- Read once, by the superuser: databases of MLflow and Airflow, and what `otaku migrate roles` prints with a login for each.
CREATE DATABASE mlflow;
CREATE DATABASE airflow;
CREATE ROLE otaku_backup NOLOGIN;
CREATE ROLE otaku_jobs NOLOGIN;
CREATE ROLE otaku_operations NOLOGIN;
CREATE ROLE otaku_service NOLOGIN;
CREATE ROLE service LOGIN PASSWORD 'local-trial' IN ROLE otaku_service, otaku_operations;
CREATE ROLE jobs LOGIN PASSWORD 'local-trial' IN ROLE otaku_jobs;
CREATE ROLE backup LOGIN PASSWORD 'local-trial' IN ROLE otaku_backup;
