-- What an import said the amounts are in. One row, or none where nobody said.
CREATE TABLE pipeline_currency (code text NOT NULL);
