-- The service: reads everything, writes what users say, decides nothing and changes no table.
GRANT USAGE ON SCHEMA otaku TO otaku_service;
GRANT SELECT ON ALL TABLES IN SCHEMA otaku TO otaku_service;
GRANT INSERT, UPDATE, DELETE ON
    otaku.users, otaku.ratings, otaku.watch_statuses, otaku.user_preferences, otaku.feedback, otaku.latest_opinions,
    otaku.registrations
    TO otaku_service;
GRANT DELETE ON otaku.future_users TO otaku_service;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA otaku TO otaku_service;
