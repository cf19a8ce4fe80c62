-- For a service whose page /ops may promote, approve and roll back, in addition to otaku_service.
GRANT INSERT ON otaku.decisions TO otaku_operations;
