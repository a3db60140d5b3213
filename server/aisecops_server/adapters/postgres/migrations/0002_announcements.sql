-- Which announcement of a channel counted last; its number only grows, whoever writes.
CREATE TABLE announcement (
    channel    text COLLATE "C" PRIMARY KEY,
    counter    bigint NOT NULL CHECK (counter > 0),
    revision   text COLLATE "C" NOT NULL,
    content    text COLLATE "C" NOT NULL,
    issued_at  bigint NOT NULL,
    expires_at bigint NOT NULL,
    digest     text COLLATE "C" NOT NULL,
    key_id     text COLLATE "C" NOT NULL
);
CREATE FUNCTION refuse_older_announcement() RETURNS trigger LANGUAGE plpgsql
    AS $$ BEGIN
        IF TG_OP <> 'UPDATE' OR NEW.counter <= OLD.counter OR NEW.channel <> OLD.channel THEN
            RAISE EXCEPTION 'what a channel announces only moves forward' USING ERRCODE = 'insufficient_privilege';
        END IF;
        RETURN NEW;
    END $$;
CREATE TRIGGER announcements_only_grow BEFORE UPDATE OR DELETE ON announcement
    FOR EACH ROW EXECUTE FUNCTION refuse_older_announcement();
REVOKE ALL ON announcement FROM PUBLIC;
GRANT SELECT ON announcement TO aisecops_writer, aisecops_reader;
GRANT INSERT, UPDATE ON announcement TO aisecops_writer;
