import csv
import shutil
from collections import Counter

import pytest
from PIL import Image

from medim.common.errors import UserError
from medim.data.archives.archive import Excluded, Loss, Record, open_archive
from medim.data.archives.openi.archive import OpenI, without_marks
from medim.data.archives.openi.reports import key_of
from medim.data.splits import assign

TERMS = "CC BY-NC-ND 4.0 (Open-i, Indiana University)"
XML = """<?xml version="1.0" encoding="utf-8"?>
<eCitation>
   <meta type="rr"/>
   <uId id="CXR{uid}"/>
   <licenseType>open-access</licenseType>
   <MedlineCitation Owner="Indiana University" Status="supplied by publisher">
      <Article PubModel="Electronic">
         <Abstract>
            <AbstractText Label="COMPARISON">None.</AbstractText>
            <AbstractText Label="INDICATION">{indication}</AbstractText>
            <AbstractText Label="FINDINGS">{findings}</AbstractText>
            <AbstractText Label="IMPRESSION">{impression}</AbstractText>
         </Abstract>
      </Article>
   </MedlineCitation>
   <MeSH>
      <major>Cardiomegaly/mild</major>
      <automatic>cardiomegaly</automatic>
   </MeSH>
   {images}
</eCitation>
"""
# uid: indication, findings, impression, pictures with their views
REPORTS = {
    1: (
        "Positive TB test",
        "Heart is\n   normal &amp; clear.",
        "Normal chest x-XXXX.",
        [("1_IM-0001-3001", "Lateral"), ("1_IM-0001-4001", "Frontal")],
    ),
    2: ("", "Enlarged heart.", "", [("2_IM-0652-1001", "Frontal")]),
    10: ("Cough", "", "No acute disease.", [("10_IM-0002-1001", "Frontal"), ("10_IM-0002-2001", "Lateral")]),
    11: ("Pain", "", "", [("11_IM-0067-1001", "Frontal")]),
    12: ("Pain", "Clear.", "", []),
}


def picture(path, grey):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (6, 5), grey).save(path)


def open_i_name(name):
    """The name in Open-i's own archive; the first report's have the number twice."""
    return f"CXR1_{name}" if name.startswith("1_") else f"CXR{name}"


def make_xml(root, below=""):
    folder = root / below / "ecgen-radiology"
    folder.mkdir(parents=True)
    grey = 0
    for uid, (indication, findings, impression, pictures) in REPORTS.items():
        images = ""
        for name, _ in pictures:
            images += f'<parentImage id="{open_i_name(name)}"><caption>Xray  Chest PA</caption></parentImage>\n'
            picture(root / "NLMCXR_png" / f"{open_i_name(name)}.png", grey := grey + 10)
        text = XML.format(uid=uid, indication=indication, findings=findings, impression=impression, images=images)
        (folder / f"{uid}.xml").write_text(text, encoding="utf-8")
    return root


def write_projections(root):
    with (root / "indiana_projections.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["uid", "filename", "projection"])
        for uid, (*_, pictures) in REPORTS.items():
            table.writerows([uid, f"{name}.dcm.png", view] for name, view in pictures)


def make_csv(root):
    root.mkdir(exist_ok=True)
    write_projections(root)
    with (root / "indiana_reports.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["uid", "MeSH", "Problems", "image", "indication", "comparison", "findings", "impression"])
        for uid, (indication, findings, impression, _) in REPORTS.items():
            findings = findings.replace("&amp;", "&")
            table.writerow(
                [uid, "Cardiomegaly/mild", "Cardiomegaly", "Xray Chest PA", indication, "None.", findings, impression]
            )
    grey = 0
    for *_, pictures in REPORTS.values():
        for name, _ in pictures:
            picture(root / "images" / "images_normalized" / f"{name}.dcm.png", grey := grey + 10)
    return root


def pairs(archive):
    return [entry for entry in archive.records() if isinstance(entry, Record)]


@pytest.mark.parametrize("below", ["", "NLMCXR_reports"])
def test_xml_and_png(tmp_path, below):
    archive = open_archive("openi", make_xml(tmp_path, below))
    assert isinstance(archive, OpenI)
    entries = list(archive.records())
    records = [entry for entry in entries if isinstance(entry, Record)]
    assert [record.fields["id"] for record in records] == [
        "CXR1_IM-0001-3001",
        "CXR1_IM-0001-4001",
        "CXR2_IM-0652-1001",
        "CXR10_IM-0002-1001",
        "CXR10_IM-0002-2001",
    ]
    assert Counter(entry.reason for entry in entries if isinstance(entry, Excluded)) == {
        "neither findings nor impression": 1,
        "report without an image": 1,
    }
    assert records[0].fields == {
        "id": "CXR1_IM-0001-3001",
        "report": "Heart is normal & clear. Normal chest x-XXXX.",
        "split": assign("CXR1", {"val": 0.1, "test": 0.2}, 0),
        "patient": "CXR1",
        "study": "CXR1",
        "domain": "chest-xray",
        "terms": TERMS,
        "sections": {
            "comparison": "None.",
            "indication": "Positive TB test",
            "findings": "Heart is normal & clear.",
            "impression": "Normal chest x-XXXX.",
        },
        "caption": "Xray Chest PA",
        "mesh": ["Cardiomegaly/mild"],
        "mesh_automatic": ["cardiomegaly"],
    }
    assert [archive.image(record.source).getpixel((0, 0))[0] for record in records] == [10, 20, 30, 40, 50]
    assert archive.facts() == {
        "form": "xml",
        "images": "NLMCXR_png",
        "reports": 5,
        "reports with findings": 3,
        "reports with impression": 2,
        "reports with indication": 4,
        "reports with comparison": 5,
        "split": {"by": "patient", "val": 0.1, "test": 0.2, "seed": 0},
    }


def test_both_forms_give_the_same_pairs(tmp_path):
    xml, table = pairs(open_archive("openi", make_xml(tmp_path / "xml"))), open_archive("openi", make_csv(tmp_path / "csv"))
    same = ("id", "report", "split", "patient", "study", "terms", "sections", "mesh", "caption")
    records = pairs(table)
    assert [[r.fields[name] for name in same] for r in records] == [[r.fields[name] for name in same] for r in xml]
    assert [record.fields["view"] for record in records] == ["lateral", "frontal", "frontal", "frontal", "lateral"]
    assert records[0].fields["problems"] == ["Cardiomegaly"]
    assert [table.image(record.source).getpixel((0, 0))[0] for record in records] == [10, 20, 30, 40, 50]


@pytest.mark.parametrize("make", [make_xml, make_csv])
def test_all_pictures_of_a_patient_are_in_one_split(tmp_path, make, monkeypatch):
    """Of 20 patients with three pictures each; drawn by picture, hardly any would stay together."""
    for uid in range(20, 40):
        pictures = [(f"{uid}_IM-{view:04d}-1001", "Frontal") for view in range(3)]
        monkeypatch.setitem(REPORTS, uid, ("", "Clear.", "", pictures))
    archive = open_archive("openi", make(tmp_path), None, {"val": "0.3", "test": "0.4"})
    splits = {}
    for record in pairs(archive):
        splits.setdefault(record.fields["patient"], []).append(record.fields["split"])
    assert sum(len(of) == 3 for of in splits.values()) == 20
    assert all(of == [assign(patient, {"val": 0.3, "test": 0.4}, 0)] * len(of) for patient, of in splits.items())
    assert {of[0] for of in splits.values()} == {"train", "val", "test"}


def test_pictures_of_the_other_form_are_found(tmp_path):
    root = make_xml(tmp_path / "a")
    shutil.rmtree(root / "NLMCXR_png")
    make_csv(tmp_path / "b")
    shutil.move(tmp_path / "b" / "images", root / "images")
    archive = open_archive("openi", root)
    assert [archive.image(record.source).getpixel((0, 0))[0] for record in pairs(archive)] == [10, 20, 30, 40, 50]
    make_xml(tmp_path / "c")
    shutil.move(tmp_path / "c" / "NLMCXR_png", tmp_path / "b" / "pictures")
    archive = open_archive("openi", tmp_path / "b", None, {"images": "pictures"})
    assert [archive.image(record.source).getpixel((0, 0))[0] for record in pairs(archive)] == [10, 20, 30, 40, 50]


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        ({"section": "findings"}, ["1_IM-0001-3001", "1_IM-0001-4001", "2_IM-0652-1001"]),
        ({"section": "impression"}, ["1_IM-0001-3001", "1_IM-0001-4001", "10_IM-0002-1001", "10_IM-0002-2001"]),
        ({"views": "frontal"}, ["1_IM-0001-4001", "2_IM-0652-1001", "10_IM-0002-1001"]),
        ({"views": "lateral"}, ["1_IM-0001-3001", "10_IM-0002-2001"]),
        ({"study": "first"}, ["1_IM-0001-3001", "2_IM-0652-1001", "10_IM-0002-1001"]),
        ({"study": "first", "views": "frontal"}, ["1_IM-0001-4001", "2_IM-0652-1001", "10_IM-0002-1001"]),
    ],
)
def test_choices(tmp_path, options, ids):
    expected = [f"CXR{name}" for name in ids]
    assert [record.fields["id"] for record in pairs(open_archive("openi", make_csv(tmp_path / "a"), None, options))] == expected
    root = make_xml(tmp_path / "b")
    write_projections(root)  # tells the XML's views
    assert [record.fields["id"] for record in pairs(open_archive("openi", root, None, options))] == expected


def test_sections(tmp_path):
    root = make_csv(tmp_path)
    texts = {}
    for section in ("findings", "impression", "both"):
        texts[section] = pairs(open_archive("openi", root, None, {"section": section}))[0].fields["report"]
    assert texts["findings"] == "Heart is normal & clear."
    assert texts["impression"] == "Normal chest x-XXXX."
    assert texts["both"] == "Heart is normal & clear. Normal chest x-XXXX."


@pytest.mark.parametrize(
    ("xxxx", "impression"), [("keep", "Normal chest x-XXXX."), ("drop", "Normal chest."), ("mask", "Normal chest x-[deid].")]
)
def test_one_policy_for_the_mark_of_deidentification(tmp_path, xxxx, impression):
    record = pairs(open_archive("openi", make_csv(tmp_path), None, {"xxxx": xxxx}))[0]
    assert record.fields["sections"]["impression"] == impression
    assert record.fields["report"] == f"Heart is normal & clear. {impression}"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("No mark ..  here ( x ).", "No mark .. here ( x )."),
        ("XXXX XXXX.", ""),
        ("Seen XXXX, XXXX (XXXX nipple ring) and XXXX/fluid level.", "Seen, (nipple ring) and fluid level."),
        ("Dr. XXXX<XXXX>receipt", "Dr. receipt"),
        ("Old. XXXX. XXXX; New XXXX-a-XXXX.", "Old. New."),
        ("Since 02/010/XXXX.", "Since 02/010."),
        ("Kept e.g., a .. b (XXXX), XXXX.", "Kept e.g., a .. b."),
        ("XXXX. Left, XXXX) x-XXXX", "Left)"),
    ],
)
def test_dropping_the_mark_leaves_no_debris(text, left):
    assert without_marks(text) == left


def test_names_of_pictures_agree():
    assert key_of("CXR1_1_IM-0001-3001") == key_of("1_IM-0001-3001.dcm.png") == "CXR1_IM-0001-3001"
    assert key_of("CXR12_IM-0012-1001.png") == "CXR12_IM-0012-1001"
    assert key_of("other.PNG") == "other"


def test_what_is_broken_is_lost_by_name(tmp_path):
    root = make_xml(tmp_path)
    folder = root / "ecgen-radiology"
    (folder / "2.xml").write_text("<eCitation><uId id='CXR2'/>")
    (folder / "3.xml").write_text("<eCitation/>")
    shutil.copy(folder / "10.xml", folder / "13.xml")
    image = "<parentImage id='../../etc/x'/><parentImage id='CXR14_IM-1-1'/>"
    (folder / "14.xml").write_text(XML.format(uid=14, indication="", findings="Clear.", impression="", images=image))
    bomb = (
        '<!DOCTYPE l [<!ENTITY a "'
        + "a" * 1000
        + '">'
        + "".join(f'<!ENTITY {chr(98 + k)} "{f"&{chr(97 + k)};" * 50}">' for k in range(6))
    )
    (folder / "15.xml").write_text(f"{bomb}]><eCitation><uId id='CXR15'/>&g;</eCitation>")
    entries = list(open_archive("openi", root).records())
    losses = {entry.item: entry.reason for entry in entries if isinstance(entry, Loss)}
    assert losses.keys() == {"2.xml", "3.xml", "13.xml", "../../etc/x", "15.xml"}
    assert losses["2.xml"].startswith("broken XML: no element found: line 1")
    assert losses["3.xml"] == "has no <uId id=...>"
    assert losses["13.xml"] == "a second report of uid CXR10; the first is 10.xml"
    assert losses["../../etc/x"] == "image '../../etc/x' leads outside the archive's folder of images"
    assert losses["15.xml"].startswith("broken XML")
    assert [e.fields["id"] for e in entries if isinstance(e, Record)][-1] == "CXR14_IM-1-1"


def test_rows_that_match_nothing_are_lost_by_name(tmp_path):
    root = make_csv(tmp_path)
    with (root / "indiana_projections.csv").open("a") as file:
        file.write("99,99_IM-0001-1001.dcm.png,Frontal\n")
        file.write("99,CXR99_IM-0001-1001.png,Lateral\n")
    with (root / "indiana_reports.csv").open("a") as file:
        file.write("2,,,,,,Again.,\n,,,,,,No uid.,\n")
    entries = list(open_archive("openi", root).records())
    assert [entry for entry in entries if isinstance(entry, Loss)] == [
        Loss("indiana_projections.csv:9", "picture 'CXR99_IM-0001-1001.png' stands on line 8 already"),
        Loss("indiana_reports.csv:8", "a second report of uid 2; the first is on line 4"),
        Loss("indiana_reports.csv:9", "column 'uid' is empty"),
        Loss("99_IM-0001-1001.dcm.png", "indiana_reports.csv has no report of uid '99'"),
    ]
    assert sum(isinstance(entry, Record) for entry in entries) == 5


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("indiana_reports.csv", "uid,finding,impression\n1,a,b\n", r"column 'findings' is missing; the columns are: finding, "),
        ("indiana_projections.csv", "uid,file,projection\n", r"indiana_projections\.csv: column 'filename' is missing"),
    ],
)
def test_a_table_that_cannot_be_used_is_named(tmp_path, file, text, says):
    root = make_csv(tmp_path)
    (root / file).write_text(text)
    with pytest.raises(UserError, match=says):
        list(open_archive("openi", root).records())


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (b"7,a,b,c", "the row has more cells than there are columns"),
        (b'7,"a,b', "broken CSV: unexpected end of data (a quote that is not closed, or not doubled)"),
        (b"7,Gr\xf6\xdfe normal,b", "column 'findings' is not UTF-8 (byte 0xF6); save the file as UTF-8"),
        (b"7,a", "the row ends before column 'impression'; is the file cut?"),
        (b'7,"said "no"",b', "broken CSV: ',' expected after '\"'"),
        (b"0,nan,None", "hold no more than 'nan', 'None', which stands for missing text"),
    ],
)
def test_a_row_that_cannot_be_read_is_lost_alone(tmp_path, row, says):
    root = make_csv(tmp_path)
    (root / "indiana_projections.csv").write_text("uid,filename,projection\n0,0_IM-0-1.png,nan\n1,1_IM-0-1.png,Frontal\n")
    (root / "indiana_reports.csv").write_bytes(b"uid,findings,impression\n1,clear,NA\n" + row)
    entries = list(open_archive("openi", root).records())
    assert [entry.fields["report"] for entry in entries if isinstance(entry, Record)] == ["clear"]
    lost = [entry for entry in entries if isinstance(entry, Loss) and "has no report of uid" not in entry.reason]
    assert len(lost) == 1
    assert says in lost[0].reason
    assert lost[0].item in ("indiana_reports.csv:3", "CXR0_IM-0-1")


def test_pictures_may_lie_elsewhere(tmp_path):
    root = make_xml(tmp_path / "xml")
    elsewhere = (root / "NLMCXR_png").rename(tmp_path / "png")
    archive = open_archive("openi", root, None, {"images": str(elsewhere)})
    assert archive.facts()["images"] == str(elsewhere)
    assert archive.image(pairs(archive)[0].source).size == (6, 5)


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(UserError, match=r"holds neither ecgen-radiology/\*\.xml nor indiana_reports\.csv"):
        open_archive("openi", tmp_path)
    root = make_csv(tmp_path / "csv")
    (root / "indiana_projections.csv").unlink()
    with pytest.raises(UserError, match=r"holds no indiana_projections\.csv"):
        open_archive("openi", root)
    root = make_xml(tmp_path / "xml")
    with pytest.raises(UserError, match=r"views=frontal needs indiana_projections\.csv"):
        open_archive("openi", root, None, {"views": "frontal"})
    with pytest.raises(UserError, match=r"holds no indiana_reports\.csv"):
        open_archive("openi", root, None, {"form": "csv"})
    with pytest.raises(UserError, match=r"none' is no folder \(option images\)"):
        open_archive("openi", root, None, {"images": "none"})
    shutil.rmtree(root / "NLMCXR_png")
    with pytest.raises(UserError, match=r"no folder of PNG files.*name it with images="):
        open_archive("openi", root)
    with pytest.raises(UserError, match="unknown option of openi 'view'; did you mean 'views'"):
        open_archive("openi", root, None, {"view": "frontal"})
    with pytest.raises(UserError, match=r"openi: Value error, val \+ test is 1\.1, more than 1"):
        open_archive("openi", root, None, {"val": "0.5", "test": "0.6"})


def test_a_missing_picture_is_one_clear_line(tmp_path):
    root = make_csv(tmp_path)
    archive = open_archive("openi", root)
    record = pairs(archive)[2]
    (root / "images" / "images_normalized" / "2_IM-0652-1001.dcm.png").unlink()
    with pytest.raises(UserError, match=r"2_IM-0652-1001\.dcm\.png' does not exist"):
        archive.image(record.source)


def test_the_real_tables(shared_data):
    folder = shared_data / "text" / "iu_xray"
    if not (folder / "indiana_reports.csv").is_file():
        pytest.skip("the real data has no Indiana tables")
    with (folder / "indiana_reports.csv").open(newline="") as file:
        reports = {row["uid"]: row for row in csv.DictReader(file)}
    with (folder / "indiana_projections.csv").open(newline="") as file:
        projections = list(csv.DictReader(file))
    told = {uid for uid, row in reports.items() if row["findings"].strip() or row["impression"].strip()}
    archive = open_archive("openi", folder, None, {"images": "."})
    entries = list(archive.records())
    records = [entry for entry in entries if isinstance(entry, Record)]
    assert not any(isinstance(entry, Loss) for entry in entries)
    assert Counter(record.source for record in records) == Counter(row["filename"] for row in projections if row["uid"] in told)
    assert Counter(record.fields["view"] for record in records) == Counter(
        row["projection"].lower() for row in projections if row["uid"] in told
    )
    assert len({record.fields["patient"] for record in records}) == len(told)
    assert archive.facts()["reports with findings"] == sum(bool(row["findings"].strip()) for row in reports.values())
    for record in records[:200]:
        row = reports[record.fields["patient"].removeprefix("CXR")]
        assert record.fields["report"].split() == (row["findings"] + " " + row["impression"]).split()
    shares = Counter({record.fields["patient"]: record.fields["split"] for record in records}.values())
    assert shares["test"] / len(told) == pytest.approx(0.2, abs=0.03)
    assert shares["val"] / len(told) == pytest.approx(0.1, abs=0.03)
    findings = list(open_archive("openi", folder, None, {"images": ".", "section": "findings"}).records())
    with_findings = {uid for uid, row in reports.items() if row["findings"].strip()}
    assert sum(isinstance(e, Record) for e in findings) == sum(row["uid"] in with_findings for row in projections)
    dropped = pairs(open_archive("openi", folder, None, {"images": ".", "xxxx": "drop"}))
    assert not any("XXXX" in record.fields["report"] for record in dropped)


def test_a_part_of_the_archive_is_told_unless_it_is_meant(tmp_path):
    root = make_csv(tmp_path)
    archive = open_archive("openi", root)
    list(archive.records())
    (loss,) = archive.shortfall()
    assert (loss.item, "of 3,851 are in" in loss.reason) == ("reports", True)
    meant = open_archive("openi", root, None, {"part": "true"})
    list(meant.records())
    assert meant.shortfall() == []
