module github.com/ihc-pipeline/ihc/proto

go 1.26

require google.golang.org/protobuf v1.36.12
